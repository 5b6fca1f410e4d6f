"""Programs and libraries of Python: sqlite-utils with full text search, a Django project with constraints
and migrations, Anki's collection, diskcache, coverage."""
import os
import sys
import textwrap

from chain import Failed, Program


class Script(Program):
    """Something that is run as a Python program in the folder."""

    quick = True

    def python(self, program, *arguments):
        return self.run(sys.executable, "-c", textwrap.dedent(program), *arguments)


class SQLiteUtils(Script):
    """Full text search with external content and triggers, in both versions, over tables without a key;
    counts kept by triggers; tables transformed between points."""

    name = "sqlite-utils"

    def utils(self, *arguments, **options):
        command = os.path.join(os.path.dirname(sys.executable), "sqlite-utils")
        return self.run(command, *arguments, **options)

    def insert(self, table, number, *arguments):
        rows = "[" + ", ".join(
            f'{{"code": "{table}-{number}-{n}", "title": "The title {n}", "body": "words of {number} and \\u00fc"}}'
            for n in range(100)
        ) + "]"  # fmt: skip
        self.utils("insert", self.database, table, "-", *arguments, input=rows)

    def make(self):
        self.insert("pages", 0)
        self.insert("keyed", 0, "--pk", "code")
        self.utils("enable-fts", self.database, "pages", "title", "body", "--create-triggers", "--tokenize", "porter")
        self.utils("enable-fts", self.database, "keyed", "title", "body", "--create-triggers")
        self.insert("old", 0)
        self.utils("enable-fts", self.database, "old", "body", "--fts4")
        self.utils("enable-counts", self.database, "pages", "keyed")
        self.utils("create-view", self.database, "recent", "select * from pages order by rowid desc limit 10")

    def change(self, number):
        self.insert("pages", number)
        self.insert("keyed", number, "--pk", "code")
        self.insert("old", number)
        self.utils("populate-fts", self.database, "old", "body")
        self.utils("query", self.database, f"delete from pages where rowid % 13 = {number}")
        self.utils("query", self.database, f"update keyed set body = 'a kettle {number}' where rowid % 17 = {number}")
        self.utils("add-column", self.database, "pages", f"extra{number}", "integer", "--not-null-default", "7")
        if number == 2:
            self.utils("rebuild-fts", self.database)
            self.utils("optimize", self.database)
            self.utils("analyze", self.database)

    def use(self):
        self.expect(self.utils("search", self.database, "keyed", "kettle"), "a kettle 1", "a kettle 2")
        self.expect(self.utils("search", self.database, "pages", "wording OR titles", "--limit", "500"), "pages-2-99")
        self.insert("pages", 3)
        self.utils("query", self.database, "delete from pages where code = 'pages-0-50'")
        found = self.utils("search", self.database, "pages", "words", "--limit", "500")
        self.expect(found, "pages-3-42")
        if "pages-0-50" in found:
            raise Failed("a deleted row is still found")
        self.expect(self.utils("search", self.database, "old", "words", "--limit", "500"), "old-2-99")
        for table in ("pages_fts", "keyed_fts", "old_fts"):
            self.utils("query", self.database, f"insert into {table}({table}) values ('integrity-check')")
        self.utils("transform", self.database, "keyed", "--rename", "body", "text")
        self.utils("vacuum", self.database)
        counts = "select sum(c.count = (select count(*) from pages)) as right from _counts c where c.\"table\" = 'pages'"
        self.expect(self.utils("query", self.database, counts), '"right": 1')


class Django(Script):
    """A CHECK that calls Django's own REGEXP, a unique index on an expression, migrations that make
    tables anew, sessions, JSON, decimals."""

    name = "django"
    database = "site.db"

    models = """
        import re
        from django.db import models
        from django.db.models import CheckConstraint, Q, UniqueConstraint
        from django.db.models.functions import Lower

        class Maker(models.Model):
            name = models.CharField(max_length=50)
            class Meta:
                constraints = [UniqueConstraint(Lower("name"), name="maker_name")]

        class Item(models.Model):
            sku = models.CharField(max_length=20, unique=True)
            price = models.DecimalField(max_digits=10, decimal_places=2)
            maker = models.ForeignKey(Maker, models.CASCADE)
            facts = models.JSONField(default=dict)
            made = models.DateTimeField(auto_now_add=True)
            # NEW
            class Meta:
                constraints = [
                    CheckConstraint(condition=Q(sku__regex=r"^[A-Z]+-[0-9]+$"), name="item_sku"),
                    CheckConstraint(condition=Q(price__gte=0), name="item_price"),
                ]
        """

    settings = """
        import django
        from django.conf import settings
        settings.configure(
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "site.db"}},
            INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "shop"],
            DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", USE_TZ=True, SECRET_KEY="x")
        django.setup()
        from django.core.management import call_command
        from django.contrib.auth.models import User
        from django.db import IntegrityError, connection, transaction
        from shop.models import Item, Maker

        def is_refused(**fields):
            try:
                with transaction.atomic():
                    Item.objects.create(**fields)
                return False
            except IntegrityError:
                return True
        """

    def prepare(self, connection):
        connection.create_function("REGEXP", 2, lambda pattern, text: True, deterministic=True)

    def site(self, program):
        return self.python(textwrap.dedent(self.settings) + textwrap.dedent(program))

    def migrate(self, field=""):
        """Writes the models with one more field, and migrates to them."""
        os.makedirs(self.path("shop/migrations"), exist_ok=True)
        for name, text in (("__init__", ""), ("migrations/__init__", ""), ("models", self.models)):
            with open(self.path(f"shop/{name}.py"), "w", encoding="utf-8") as file:
                file.write(textwrap.dedent(text).replace("# NEW", field))
        return self.site("call_command('makemigrations', 'shop'); call_command('migrate')")

    def make(self):
        self.migrate()
        self.site(
            """
            User.objects.create_user("ann", password="secret")
            for m in range(5):
                maker = Maker.objects.create(name=f"Maker {m}")
                for n in range(40):
                    Item.objects.create(sku=f"AB-{m}{n:03}", price=f"{n}.{m}0", maker=maker, facts={"n": n, "é": [m]})
            """
        )

    def change(self, number):
        if number == 2:
            self.migrate('note = models.TextField(default="none")')
        self.site(
            f"""
            maker = Maker.objects.create(name="Later {number}")
            Item.objects.filter(id__lt=20).update(price=100 + {number})
            Item.objects.filter(id={number * 30}).delete()
            Item.objects.create(sku="NEW-{number}", price="9.99", maker=maker)
            User.objects.create_user("user{number}")
            from django.contrib.sessions.backends.db import SessionStore
            session = SessionStore(); session["cart"] = [{number}]; session.save()
            """
        )

    def use(self):
        self.site(
            """
            from django.contrib.auth import authenticate
            assert authenticate(username="ann", password="secret"), "the password"
            maker = Maker.objects.get(name="Later 2")
            assert is_refused(sku="small-1", price=1, maker=maker), "the regular expression"
            assert is_refused(sku="OK-1", price=-1, maker=maker), "the price"
            assert is_refused(sku="NEW-1", price=1, maker=maker), "the unique column"
            try:
                with transaction.atomic():
                    Maker.objects.create(name="LATER 1")
                raise SystemExit("the unique expression")
            except IntegrityError:
                pass
            item = Item.objects.create(sku="LAST-1", price="0.10", maker=maker)
            assert item.id == 203, item.id
            assert Item.objects.get(sku="AB-1007").facts == {"n": 7, "é": [1]}
            assert Item.objects.get(sku="NEW-2").price == __import__("decimal").Decimal("9.99")
            """
        )
        said = self.migrate('note = models.TextField(default="none"); weight = models.FloatField(null=True)')
        self.expect(said, "OK")
        self.expect(self.site("print(Item.objects.filter(weight=None).count()); call_command('migrate')"), "201", "No mig")


class Anki(Script):
    """collection.anki2: a collation of Anki's own in keys and indexes, which don't come back without it
    and are named with what to run."""

    name = "anki"
    quick = False
    database = "collection.anki2"
    excused = ("fields", "templates", "notetypes", "decks", "deck_config", "tags", "idx_fields_name_ntid",
               "idx_templates_name_ntid", "idx_notetypes_name", "idx_decks_name", "idx_deck_config_name")  # fmt: skip

    def prepare(self, connection):
        fold = lambda text: text.casefold()
        connection.create_collation("unicase", lambda a, b: (fold(a) > fold(b)) - (fold(a) < fold(b)))

    def anki(self, program):
        start = """
            import sys
            from anki.collection import Collection, ExportAnkiPackageOptions
            collection = Collection("collection.anki2")

            def add(number, count=60):
                kind = collection.models.by_name("Basic")
                deck = collection.decks.id(f"Deck {number}::Part")
                for n in range(count):
                    note = collection.new_note(kind)
                    note["Front"], note["Back"] = f"front {number}/{n} é", f"back {n}"
                    note.tags = [f"Tag{n % 7}", f"ÜBER{number}", "parent::child"]
                    collection.add_note(note, deck)
            """
        return self.python(textwrap.dedent(start) + textwrap.dedent(program) + "\ncollection.close()")

    def make(self):
        self.anki("add(0)")

    def change(self, number):
        self.anki(
            f"""
            add({number})
            found = collection.find_notes("front")
            collection.remove_notes(found[{number}:{number} + 3])
            note = collection.get_note(found[20]); note["Back"] = "changed {number}"; collection.update_note(note)
            collection.tags.rename("Tag{number}", "renamed{number}")
            collection.decks.select(collection.decks.id("Deck {number}::Part"))
            for _ in range(3):
                card = collection.sched.getCard(); collection.sched.answerCard(card, 3)
            """
        )

    def use(self):
        said = self.anki(
            """
            assert len(collection.find_notes("front")) == 174, len(collection.find_notes("front"))
            assert len(collection.find_notes("tag:über1")) == len(collection.find_notes("tag:ÜBER1")) > 50
            assert {"renamed1", "renamed2", "ÜBER0"} <= set(collection.tags.all()), collection.tags.all()
            add(3)
            assert len(collection.find_notes("front")) == 234
            assert collection.db.scalar("select count() from revlog") == 6
            print(collection.fix_integrity())
            print(sorted(deck.name for deck in collection.decks.all_names_and_ids()))
            """
        )
        self.expect(said, "Deck 0::Part", "Deck 3::Part")
        self.anki(
            """
            assert len(collection.find_notes("front")) == 234
            options = ExportAnkiPackageOptions(with_scheduling=True, with_media=False, with_deck_configs=True)
            assert collection.export_anki_package(out_path="out.apkg", options=options, limit=None) == 234
            """
        )


class DiskCache(Script):
    """A cache with counters that triggers keep, full auto_vacuum, WAL, blobs, and a key without NOT NULL."""

    name = "diskcache"
    database = "cache/cache.db"

    def cache(self, program):
        return self.python("import diskcache\ncache = diskcache.Cache('cache', statistics=1)\n" + textwrap.dedent(program))

    def make(self):
        self.cache("for n in range(300): cache[f'key {n}'] = 'v' * n if n % 2 else {'n': n}")

    def change(self, number):
        self.cache(
            f"""
            for n in range({number}, 300, 7): cache[f'key {{n}}'] = b'changed {number}'
            for n in range({number}, 300, 11): cache.delete(f'key {{n}}')
            cache.push('queued {number}', prefix='queue'); cache.set('tagged {number}', 1, tag='t{number}')
            """
        )

    def use(self):
        self.cache(
            """
            assert cache['key 4'] == {'n': 4} and cache['key 9'] == b'changed 2' and 'key 12' not in cache
            assert cache.pull(prefix='queue')[1] == 'queued 1'
            assert cache.evict('t1') == 1
            cache['after'] = 'the restore'
            assert cache['after'] == 'the restore' and len(cache) == sum(1 for _ in cache)
            assert cache.check() == [], cache.check()
            """
        )


class Coverage(Script):
    """.coverage: keys of two columns without a primary key, blobs of line numbers."""

    name = "coverage"
    database = ".coverage"

    def measure(self, number):
        with open(self.path(f"program{number}.py"), "w", encoding="utf-8") as file:
            file.write(f"def f(x):\n    if x > {number}:\n        return 1\n    return 2\nprint([f(n) for n in range(9)])\n")
        self.run(sys.executable, "-m", "coverage", "run", "--branch", "--append", f"program{number}.py")

    def make(self):
        self.measure(0)

    def change(self, number):
        self.measure(number)

    def use(self):
        self.measure(3)
        self.expect(
            self.run(sys.executable, "-m", "coverage", "report"), "program0.py", "program2.py", "program3.py", "100%"
        )


PROGRAMS = [SQLiteUtils, Django, Anki, DiskCache, Coverage]
