"""Maps by GDAL: tiles without any primary key, GeoPackages with rtree and an application_id, and
SpatiaLite's, whose triggers and virtual tables need functions and modules that SQLite hasn't got."""
import json

from chain import Failed, Program


class Map(Program):
    """What the files that GDAL makes have in common."""

    def gdal(self, *command):
        """Runs one of GDAL's programs, which warns aloud of a file that isn't quite what it says."""
        said = self.run(*command)
        for word in ("Warning", "ERROR", "FAILURE"):
            if word in said:
                raise Failed(f"{command[0]}: {said[-1000:]}")
        return said

    def features(self, number):
        """A GeoJSON file of 50 points with attributes; answers its name."""
        features = [
            {
                "type": "Feature",
                "properties": {"name": f"place {n}", "people": n * 37, "price": n / 2},
                "geometry": {"type": "Point", "coordinates": [n % 360 - 180 + number / 10, n % 170 - 85]},
            }
            for n in range(number * 50, number * 50 + 50)
        ]
        name = f"features{number}.geojson"
        with open(self.path(name), "w", encoding="utf-8") as file:
            json.dump({"type": "FeatureCollection", "features": features}, file)
        return name

    def raster(self, name, burn):
        corners = ("0", "600000", "600000", "0")
        colours = [word for value in (burn, 90, 200) for word in ("-burn", str(value))]
        self.gdal(
            "gdal_create", "-q", "-of", "GTiff", "-outsize", "600", "600", "-bands", "3", *colours,
            "-a_srs", "EPSG:3857", "-a_ullr", *corners, name,
        )  # fmt: skip
        return name


class Tiles(Map):
    """MBTiles: two tables, neither of which has a primary key."""

    name = "mbtiles"
    database = "map.mbtiles"

    def make(self):
        self.gdal("gdal_translate", "-q", "-of", "MBTILES", self.raster("in.tif", 10), self.database)

    def change(self, number):
        self.gdal("gdaladdo", "-q", "-r", "average", self.database, str(2**number))

    def use(self):
        self.expect(self.gdal("gdalinfo", "-checksum", self.database), "Overviews", "Checksum", "Size is")
        self.gdal("gdal_translate", "-q", "-of", "GTiff", self.database, "out.tif")
        self.gdal("gdaladdo", "-q", "-clean", self.database)
        self.gdal("gdaladdo", "-q", "-r", "average", self.database, "2", "4", "8")
        self.expect(self.gdal("gdalinfo", self.database), "Overviews")


class GeoPackage(Map):
    """Layers with an rtree that triggers fill by GDAL's functions, and AUTOINCREMENT."""

    name = "geopackage"
    database = "map.gpkg"
    options = ("-f", "GPKG")

    def sql(self, text, *arguments):
        return self.gdal("ogrinfo", "-q", self.database, "-sql", text, *arguments)

    def make(self):
        self.gdal("ogr2ogr", *self.options, self.database, self.features(0), "-nln", "place")

    def change(self, number):
        self.gdal("ogr2ogr", "-append", self.database, self.features(number), "-nln", "place")
        self.sql(f"DELETE FROM place WHERE people % 7 = {number}")
        self.sql(f"UPDATE place SET price = price + 1 WHERE people % 11 = {number}")
        self.gdal("ogr2ogr", "-update", self.database, self.features(number), "-nln", f"layer{number}")

    def inside(self, *box):
        """Names of the places in a box, found by the spatial index."""
        said = self.gdal("ogrinfo", "-q", self.database, "place", "-spat", *map(str, box))
        return sorted(line.split(" = ")[1] for line in said.splitlines() if "name (String)" in line)

    def use(self):
        west, east = (-180, -85, -150, 0), (-30, 60, 20, 85)
        if "place 2" not in self.inside(*west) or self.inside(*east):
            raise Failed(f"the spatial index finds {self.inside(*west)} and {self.inside(*east)}")
        self.gdal("ogr2ogr", "-append", self.database, self.features(3), "-nln", "place")
        self.sql("DELETE FROM place WHERE name = 'place 2'")
        if "place 2" in self.inside(*west) or "place 160" not in self.inside(*east):
            raise Failed(f"the spatial index finds {self.inside(*west)} and {self.inside(*east)}")
        self.expect(self.gdal("ogrinfo", "-so", self.database, "layer2"), "Feature Count: 50")


class GeoPackageTiles(Tiles):
    """The same format with tiles in it."""

    name = "geopackage tiles"
    database = "tiles.gpkg"

    def make(self):
        self.gdal("gdal_translate", "-q", "-of", "GPKG", self.raster("in.tif", 10), self.database)


class SpatiaLite(GeoPackage):
    """Virtual tables of SpatiaLite's own modules, some 80 triggers that call its functions."""

    name = "spatialite"
    database = "map.sqlite"
    options = ("-f", "SQLite", "-dsco", "SPATIALITE=YES")


PROGRAMS = [Tiles, GeoPackage, GeoPackageTiles, SpatiaLite]
