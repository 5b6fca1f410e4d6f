"""Version control: Fossil's repository and checkout, Subversion's working copy and its cache of
representations, Mercurial's store in SQLite."""
from chain import Failed, Program


class Fossil(Program):
    """The repository: delta-coded blobs, an FTS5 index over a view, a schema of its own application_id."""

    name = "fossil"
    quick = True
    database = "repository.fossil"

    def fossil(self, *arguments, **options):
        return self.run("fossil", *arguments, folder="checkout", **options)

    def commit(self, number):
        for name in ("story", "list"):
            with open(self.path(f"checkout/{name}.txt"), "a", encoding="utf-8") as file:
                file.write(f"{name}: line {number} about teapots\n" * 20)
        self.fossil("add", ".")
        self.fossil("commit", "-m", f"commit {number}", "--no-warnings")

    def find(self, word):
        """What the repository's own web server finds by its index, which it brings up to date first."""
        request = f"GET /search?s={word} HTTP/1.0\r\n\r\n"
        return self.run("fossil", "http", "--localauth", "repository.fossil", input=request)

    def make(self):
        self.run("fossil", "init", "repository.fossil")
        self.run("mkdir", "checkout")
        self.fossil("open", "../repository.fossil")
        self.commit(0)
        self.fossil("fts-config", "index", "on")
        self.fossil("fts-config", "enable", "cdtwe")

    def change(self, number):
        self.commit(number)
        self.fossil("wiki", "create", f"Page{number}", "story.txt")
        self.fossil("ticket", "add", "title", f"the kettle leaks {number}")
        self.fossil("tag", "add", f"release-{number}", "current")
        if number == 2:
            self.fossil("rebuild")
        self.expect(self.find("teapots"), f"Page{number}")

    def use(self):
        self.expect(self.fossil("status"), "commit 2")
        self.expect(self.fossil("test-integrity", "../repository.fossil"), "non-phantom blobs (out of")
        self.expect(self.find("teapots"), "Page1", "Page2")
        self.commit(3)
        self.expect(self.fossil("timeline", "-n", "20"), "commit 3", "commit 0", "kettle leaks 2")
        self.fossil("rebuild", "--vacuum")
        self.run("fossil", "clone", "repository.fossil", "clone.fossil")
        self.expect(self.run("fossil", "cat", "story.txt", "-R", "clone.fossil"), "line 0", "line 3")


class FossilCheckout(Fossil):
    """The checkout's small database, with a trigger of its own."""

    name = "fossil checkout"
    database = "checkout/.fslckout"

    def change(self, number):
        self.commit(number)
        with open(self.path("checkout/list.txt"), "a", encoding="utf-8") as file:
            file.write("not committed\n")
        self.fossil("stash", "save", "-m", f"stash {number}", "list.txt")

    def use(self):
        self.expect(self.fossil("stash", "list"), "stash 1", "stash 2")
        self.fossil("stash", "pop")
        self.expect(self.fossil("changes"), "EDITED     list.txt")
        self.commit(3)


class Subversion(Program):
    """wc.db of a working copy: looked at with its user_version, keys of several columns, views, triggers."""

    name = "subversion"
    quick = True
    database = "copy/.svn/wc.db"

    def svn(self, *arguments):
        return self.run("svn", "--non-interactive", *arguments, folder="copy")

    def write(self, name, text):
        with open(self.path(f"copy/{name}"), "a", encoding="utf-8") as file:
            file.write(text)

    def make(self):
        self.run("svnadmin", "create", "repository")
        self.run("svn", "checkout", f"file://{self.path('repository')}", "copy")
        self.svn("mkdir", "trunk", "branches")
        for number in range(60):
            self.write(f"trunk/file{number}.txt", f"file {number}\n" * (number + 1))
        self.svn("add", "--force", "trunk")
        self.svn("commit", "-m", "first")

    def change(self, number):
        self.write("trunk/file7.txt", f"change {number}\n")
        self.svn("move", f"trunk/file{number}.txt", f"branches/moved{number}.txt")
        self.svn("propset", "svn:eol-style", "native", f"trunk/file{10 + number}.txt")
        self.svn("delete", f"trunk/file{20 + number}.txt")
        self.svn("commit", "-m", f"change {number}")
        # And some that are left uncommitted.
        self.svn("update")
        self.svn("changelist", "later", f"trunk/file{30 + number}.txt")
        self.svn("copy", "trunk", f"branches/copy{number}")
        self.svn("lock", f"trunk/file{40 + number}.txt")

    def use(self):
        self.expect(self.svn("status"), "A  +    branches/copy2", "--- Changelist 'later'")
        self.write("trunk/file9.txt", "after the restore\n")
        self.svn("unlock", "trunk/file42.txt")
        self.svn("commit", "-m", "after the restore")
        self.svn("update")
        self.svn("cleanup", "--vacuum-pristines")
        self.expect(self.svn("info", "branches/copy2/file9.txt"), "Revision:")
        self.expect(self.svn("log", "-l", "1"), "after the restore")
        # (svn may have expanded the changelist's entries into statuses)
        if "trunk/file9.txt" in self.svn("status"):
            raise Failed("what was committed is still shown as changed")


class SubversionCache(Subversion):
    """rep-cache.db of the repository itself: WITHOUT ROWID, by the hash of contents."""

    name = "subversion repository"
    database = "repository/db/rep-cache.db"

    def use(self):
        self.run("svnadmin", "verify", "--check-normalization", "repository")
        self.write("trunk/again.txt", "file 9\n" * 10)
        self.svn("add", "trunk/again.txt")
        self.svn("commit", "-m", "the same content again")
        self.run("svnadmin", "verify", "repository")


class Mercurial(Program):
    """The store that Mercurial's sqlitestore keeps: blobs as keys, zstd in them, a view."""

    name = "mercurial"
    database = "repository/.hg/store/db.sqlite"

    def hg(self, *arguments, folder="repository"):
        options = ("extensions.sqlitestore=", "storage.new-repo-backend=sqlite", "ui.username=tester")
        return self.run("hg", *(word for option in options for word in ("--config", option)), *arguments, folder=folder)

    def commit(self, number):
        for name in range(10):
            with open(self.path(f"repository/file{name}"), "a", encoding="utf-8") as file:
                file.write(f"line {number} of file {name}\n")
        self.hg("commit", "--addremove", "-m", f"commit {number}")

    def make(self):
        self.hg("init", "repository", folder="")
        self.commit(0)

    def change(self, number):
        self.commit(number)
        self.hg("rename", f"file{number}", f"renamed{number}")
        self.hg("commit", "-m", f"renamed {number}")

    def use(self):
        self.expect(self.hg("cat", "-r", "tip", "renamed2"), "line 0", "line 2")
        self.commit(3)
        self.expect(self.hg("log", "-T", "{desc}\n"), "commit 0", "renamed 2", "commit 3")
        self.expect(self.hg("annotate", "file5"), "line 3 of file 5")
        self.hg("clone", ".", "../clone")
        self.expect(self.hg("cat", "-r", "tip", "file5", folder="clone"), "line 0", "line 3")


PROGRAMS = [Fossil, FossilCheckout, Subversion, SubversionCache, Mercurial]
