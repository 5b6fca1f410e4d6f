"""Histories and archives: IPython's, a browser's, sqlite3's own archive, RPM's packages."""
import os
import sqlite3
import sys
import textwrap

from chain import Failed, Program


class IPython(Program):
    """history.sqlite: AUTOINCREMENT, keys of two columns, another process for each session."""

    name = "ipython"
    quick = True
    database = "profile/history.sqlite"

    def session(self, *cells, query=""):
        program = f"""
            import sys
            from traitlets.config import Config
            from IPython.core.interactiveshell import InteractiveShell
            config = Config()
            config.HistoryManager.hist_file = {self.path(self.database)!r}
            config.HistoryManager.db_log_output = True
            shell = InteractiveShell.instance(config=config)
            for cell in {list(cells)!r}:
                shell.run_cell(cell, store_history=True)
            if {query!r}:
                for session, line, text in shell.history_manager.search({query!r}):
                    print("found", session, line, text)
            shell.history_manager.end_session()
            """
        os.makedirs(self.path("profile"), exist_ok=True)
        return self.run(sys.executable, "-c", textwrap.dedent(program))

    def make(self):
        self.session(*(f"{n} + {n}" for n in range(40)), "'text with \\n and ü'")

    def change(self, number):
        self.session(f"x = {number}", f"x * {number}", "import math", "math.pi")

    def use(self):
        said = self.session("print('after the restore')", query="*math*")
        self.expect(said, "after the restore", "found 2 4 math.pi", "found 3 3 import math")
        self.expect(self.session(query="*after*"), "found 4 1 print('after the restore')")
        names = os.listdir(self.path("profile"))
        if any("corrupt" in name for name in names):
            raise Failed(f"IPython began a new history: {names}")


class Places(Program):
    """A database as Firefox keeps places.sqlite: opened only with its user_version, made with another
    page size, incremental auto_vacuum and WAL; functions in triggers; used as Firefox does, which
    otherwise begins a new one."""

    name = "places"
    quick = True
    database = "places.sqlite"
    version = 86

    def prepare(self, connection):
        connection.create_function("hash", 1, lambda text: sum(text if isinstance(text, bytes) else text.encode()))

    def connect(self):
        connection = sqlite3.connect(self.path(self.database), isolation_level=None)
        self.prepare(connection)
        return connection

    def make(self):
        connection = self.connect()
        connection.executescript(
            f"""
            PRAGMA page_size = 32768; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;
            PRAGMA user_version = {self.version};
            CREATE TABLE moz_origins ( id INTEGER PRIMARY KEY, prefix TEXT NOT NULL, host TEXT NOT NULL,
                frecency INTEGER NOT NULL, UNIQUE (prefix, host) );
            CREATE TABLE moz_places ( id INTEGER PRIMARY KEY, url LONGVARCHAR, title LONGVARCHAR,
                rev_host LONGVARCHAR, visit_count INTEGER DEFAULT 0, hidden INTEGER DEFAULT 0 NOT NULL,
                frecency INTEGER DEFAULT -1 NOT NULL, last_visit_date INTEGER , guid TEXT,
                url_hash INTEGER DEFAULT 0 NOT NULL , origin_id INTEGER REFERENCES moz_origins(id));
            CREATE TABLE moz_historyvisits ( id INTEGER PRIMARY KEY, from_visit INTEGER, place_id INTEGER,
                visit_date INTEGER, visit_type INTEGER, session INTEGER);
            CREATE TABLE moz_keywords ( id INTEGER PRIMARY KEY AUTOINCREMENT, keyword TEXT UNIQUE, place_id INTEGER);
            CREATE TABLE moz_inputhistory ( place_id INTEGER NOT NULL, input LONGVARCHAR NOT NULL,
                use_count INTEGER, PRIMARY KEY (place_id, input));
            CREATE TABLE moz_meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID ;
            CREATE UNIQUE INDEX moz_places_guid_uniqueindex ON moz_places (guid);
            CREATE INDEX moz_places_url_hashindex ON moz_places (url_hash);
            CREATE TRIGGER moz_places_afterinsert AFTER INSERT ON moz_places BEGIN
                UPDATE moz_places SET url_hash = hash(NEW.url) WHERE id = NEW.id; END;
            """
        )
        connection.close()
        self.browse(0)

    def browse(self, number):
        """What a browser does with it: refuses a file of another version, then writes in it."""
        connection = self.connect()
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found != self.version:
            raise Failed(f"a browser would rename this file: user_version is {found}")
        connection.execute("BEGIN")
        for n in range(200):
            row = (f"https://example.org/{number}/{n}", f"Page {n} – {number}", f"guid{number:04}{n:04}", n * 10**6)
            connection.execute("INSERT INTO moz_places (url, title, guid, last_visit_date) VALUES (?, ?, ?, ?)", row)
            connection.execute(
                "INSERT INTO moz_historyvisits (place_id, visit_date) VALUES (last_insert_rowid(), ?)", (n,)
            )
        connection.execute("INSERT INTO moz_inputhistory VALUES (1, ?, 1)", (f"in{number}",))
        connection.execute("INSERT INTO moz_keywords (keyword) VALUES (?)", (f"word {number}",))
        connection.execute("INSERT OR REPLACE INTO moz_meta VALUES ('visits', ?)", (number,))
        connection.execute("DELETE FROM moz_keywords WHERE id = ?", (number,))
        connection.execute("COMMIT")
        connection.execute("PRAGMA incremental_vacuum(10)")
        connection.execute("ANALYZE")
        connection.close()

    def change(self, number):
        self.browse(number)

    def use(self):
        self.browse(3)
        connection = self.connect()
        hashed, count = connection.execute("SELECT sum(url_hash = hash(url)), count(*) FROM moz_places").fetchone()
        last = connection.execute("SELECT max(id) FROM moz_keywords").fetchone()[0]
        if (hashed, count, last) != (800, 800, 4):
            raise Failed(f"{hashed} of {count} places are hashed, the last keyword has the number {last}")
        connection.close()


class Archive(Program):
    """`sqlite3 --archive`: a table of files with compressed contents."""

    name = "sqlar"
    quick = True
    database = "files.sqlar"

    def write(self, number):
        os.makedirs(self.path("in/sub"), exist_ok=True)
        for name in (f"file{number}", f"sub/file{number}", "same"):
            with open(self.path(f"in/{name}"), "a", encoding="utf-8") as file:
                file.write(f"content {number}\n" * 300)

    def archive(self, *arguments):
        return self.run("sqlite3", self.database, *arguments)

    def make(self):
        self.write(0)
        self.archive("-Ac", "in")

    def change(self, number):
        self.write(number)
        self.archive("-Ai" if number == 1 else "-Au", "in")

    def use(self):
        self.write(3)
        self.archive("-Ai", "in/file3")
        self.archive(".archive --extract --directory out")
        self.expect(self.run("ls", "out/in"), "file0", "file2", "file3", "sub")
        self.run("diff", "in/file3", "out/in/file3")
        self.run("diff", "in/sub/file2", "out/in/sub/file2")


class Packages(Program):
    """rpmdb.sqlite: keys without NOT NULL, blobs as headers, tables of (key, hnum, idx) without a key."""

    name = "rpm"
    database = "db/rpmdb.sqlite"

    def rpm(self, *arguments):
        options = ("--dbpath", self.path("db"), "--define", "_db_backend sqlite")
        return self.run("rpm", *options, *arguments)

    def package(self, name, version):
        """Builds a package of one small file; answers its path."""
        spec = f"""
            Name: {name}
            Version: {version}
            Release: 1
            Summary: the {name} of a kitchen
            License: MIT
            BuildArch: noarch
            Provides: thing = {version}
            %description
            Nothing.
            %install
            mkdir -p %buildroot/opt/kitchen
            echo {version} > %buildroot/opt/kitchen/{name}
            %files
            /opt/kitchen/{name}
            """
        with open(self.path(f"{name}.spec"), "w", encoding="utf-8") as file:
            file.write(textwrap.dedent(spec))
        self.run("rpmbuild", "-bb", "--define", f"_topdir {self.path('build')}", f"{name}.spec")
        return self.path(f"build/RPMS/noarch/{name}-{version}-1.noarch.rpm")

    def install(self, *packages):
        self.rpm("--upgrade", "--justdb", "--nodeps", "--noscripts", *packages)

    def make(self):
        self.rpm("--initdb")
        self.install(self.package("kettle", 1), self.package("teapot", 1))

    def change(self, number):
        self.install(self.package("kettle", number + 1), self.package(f"cup{number}", 1))

    def use(self):
        self.expect(self.rpm("--query", "--all"), "kettle-3-1", "teapot-1-1", "cup1-1-1", "cup2-1-1")
        self.expect(self.rpm("--query", "--whatprovides", "thing"), "kettle-3", "cup2-1")
        self.rpm("--verifydb")
        self.rpm("--erase", "--justdb", "cup1")
        self.install(self.package("teapot", 2))
        self.rpm("--rebuilddb")
        said = self.rpm("--query", "--all")
        self.expect(said, "teapot-2-1", "kettle-3-1")
        if "cup1" in said:
            raise Failed(f"erased and still there: {said}")


PROGRAMS = [IPython, Places, Archive, Packages]
