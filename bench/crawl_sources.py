"""What reading candidates costs: a long URL list in bounded memory, and one taxon out of open-data tables beside DuckDB's own query.

Every figure is of the real source, page by page, as a crawl reads it; pages are dropped once read. The peer is one query over the same
files that gives the same rows in the same order: the taxon and all below it, research grade, allowed licences, the first photo of an
observation, its observer's name. CPU seconds of the work alone, imports left out; the median of `--runs` runs of each, in turn.
`--quick`: 100,000 lines and 1,000,000 rows, where what does not grow weighs more; else 1,000,000 and 10,000,000.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import duckdb
from measure import Figure, cpu_seconds, run_apart

from counteranimal.crawl.budget import Ledger
from counteranimal.crawl.politeness import Clock
from counteranimal.crawl.sources import Opening, open_source
from counteranimal.recipe import Recipe, RecipeClass, SourceSpec, Taxon
from counteranimal.workspace import Journal

NOW = datetime(2026, 11, 1, tzinfo=UTC)
GENUS = 7
LICENCES = ["cc0", "pd", "cc-by", "cc-by-sa", "cc-by-nc", "cc-by-nc-sa"]
"""What the recipe's default licences are called in the tables."""

# A genus of ten species among 3,000, an observation of one to three photos, 2,000 observers; uuids as long as real ones.
GENERATED = {
    "taxa": """
        select 7 taxon_id, '1' ancestry, 20 rank_level, 'genus' rank, 'Canis' "name", 'true' active union all
        select 1000 + i, case when i < 10 then '1/7' else '1' end, 10, 'species', 'Species ' || i, 'true' from range(3000) t(i)
    """,
    "observers": "select i observer_id, 'user' || i login, case when i % 2 = 0 then 'Ada ' || i end \"name\" from range(2000) t(i)",
    "observations": """
        select md5('o' || i)::uuid observation_uuid, i % 2000 observer_id, round((hash(i) % 1800000) / 10000.0 - 90, 4) latitude,
               round((hash(i + 1) % 3600000) / 10000.0 - 180, 4) longitude, hash(i + 2) % 300 positional_accuracy,
               1000 + hash(i + 3) % 3000 taxon_id, case when hash(i + 4) % 10 < 6 then 'research' else 'needs_id' end quality_grade,
               strftime(date '2015-01-01' + (hash(i + 5) % 3600)::int, '%Y-%m-%d') observed_on, 0.5 anomaly_score
        from range({rows} // 2) t(i)
    """,
    "photos": """
        select md5('p' || i)::uuid photo_uuid, 10 + i photo_id, md5('o' || (i * 7919) % ({rows} // 2))::uuid observation_uuid,
               ((i * 7919) % ({rows} // 2)) % 2000 observer_id, case when i % 5 = 0 then 'jpeg' else 'jpg' end extension,
               ['CC-BY-NC', 'CC-BY', 'CC0', 'CC-BY-NC-ND', 'C'][1 + (hash(i) % 5)::int] license, 2048 width, 1536 height, i % 3 "position"
        from range({rows}) t(i)
    """,
}
OWN_QUERY = """
    with wanted as (
        select taxon_id, name from {taxa} where taxon_id = 7 or list_contains(string_split(ancestry, '/'), '7')
    ), chosen as (
        select o.observation_uuid, w.name taxon, o.observed_on
        from {observations} o join wanted w using (taxon_id) where o.quality_grade = 'research'
    ), found as (
        select p.photo_id, p.extension, p.license, p.observation_uuid, p.observer_id, c.taxon, c.observed_on
        from {photos} p join chosen c using (observation_uuid) where list_contains($licences, lower(p.license))
        qualify row_number() over (partition by p.observation_uuid order by p.position, p.photo_id) = 1
    )
    select f.*, coalesce(o.name, o.login) author from found f left join {observers} o using (observer_id) order by photo_id
"""


def recipe(folder: Path, spec: SourceSpec) -> Recipe:
    """Return a recipe of one class over one source."""
    dog = RecipeClass(id="dog", name="dog", imagenet=(207,), labels=("dog",), taxa=(Taxon(name="Canis", id=GENUS),))
    return Recipe(name="bench", classes=(dog,), sources=(spec,), base=folder)


def opening(folder: Path, spec: SourceSpec) -> Opening:
    """Return what the source is opened with."""
    clock = Clock(NOW)
    return Opening(spec, recipe(folder, spec), Ledger(Journal("sqlite://"), spec, clock), clock, "bench")


def read(opened: Opening) -> tuple[int, int]:
    """Read a source to its end; return the number of its good offers and the sum of what identifies them, for comparison."""
    source = open_source(opened)
    good, identified = 0, 0
    for page in source.pages(""):
        for offer in page.offers:
            if offer.refused is None:
                good += 1
                identified += int(offer.native_id) if offer.native_id.isdecimal() else 0
    return good, identified


def own_query(folder: Path, threads: int) -> tuple[int, int]:
    """Ask DuckDB itself; its types are sniffed, its result comes as Arrow batches."""
    tables = {
        name: f"read_csv('{next(folder.glob(f'{name}.csv*'))}', delim='\\t', header=true, quote='', escape='')"
        for name in GENERATED
    }
    with duckdb.connect(":memory:", config={"threads": threads, "memory_limit": "2000MB"}) as connection:
        found = connection.sql(OWN_QUERY.format(**tables), params={"licences": LICENCES})
        good, identified = 0, 0
        for batch in found.to_arrow_reader(100_000):
            good += len(batch)
            identified += sum(batch.column("photo_id").to_pylist())
    return good, identified


def lines(rows: int) -> Iterator[str]:
    """Yield a long list with what lists have: blank, short and repeated lines."""
    yield "url,class,licence,author,sha256"
    for number in range(rows - 1):
        if number % 1000 == 999:
            yield ["", "https://photos.example.org/short.jpg", "https://photos.example.org/0.jpg,dog,CC0-1.0,Ada,"][
                number // 1000 % 3
            ]
        else:
            yield f"https://photos.example.org/observations/{number}/large.jpg,dog,CC-BY-4.0,Observer {number % 5000},"


def child(folder: Path, what: str) -> None:
    """Do one piece of work in this process and print what it took."""
    threads = 2
    if what == "list":
        columns = {"label": "class", "licence": "licence", "author": "author", "sha256": "sha256"}
        spec = SourceSpec(name="list", kind="url-list", options={"list": "list.csv", **columns})
    else:
        spec = SourceSpec(name="dump", kind="inaturalist-open-data", options={"folder": ".", "threads": threads})
    opened = opening(folder, spec)
    cpu, found = cpu_seconds(lambda: own_query(folder, threads) if what == "own" else read(opened))
    # The child's own peak: `ru_maxrss` would begin with the memory of the process that it was forked from.
    [peak] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    print(json.dumps({"cpu": cpu, "found": found, "peak_mb": int(peak.split()[1]) / 1024}))


def measured(folder: Path, what: str) -> tuple[float, list[int], float]:
    """Run `child` apart; return CPU seconds of the work, what it found, and the process's peak in MB."""
    told = json.loads(run_apart([sys.executable, __file__, "--child", what, "--folder", str(folder)]).output)
    return told["cpu"], told["found"], told["peak_mb"]


def generate(folder: Path, rows: int, *, zipped: bool) -> None:
    """Write the four tables, tab-separated and unquoted as upstream's are."""
    suffix, packing = (".csv.gz", "gzip") if zipped else (".csv", "none")
    folder.mkdir()
    with duckdb.connect(":memory:", config={"threads": 2, "memory_limit": "3000MB"}) as connection:
        connection.execute("set enable_progress_bar = false")
        for name, query in GENERATED.items():
            connection.execute(
                f"copy ({query.format(rows=rows)}) to '{folder / (name + suffix)}'"
                f" (format csv, delimiter '\\t', header true, quote '', escape '', compression {packing})"
            )


def main() -> None:
    """Run, print, and end with one JSON line a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--runs", type=int, help="of each side; 5, or 1 with --quick")
    parser.add_argument("--child", choices=["list", "ours", "own"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.folder, arguments.child)
        return
    n_lines, rows = (100_000, 1_000_000) if arguments.quick else (1_000_000, 10_000_000)
    figures = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with (folder / "list.csv").open("w") as file:
            file.writelines(f"{line}\n" for line in lines(n_lines))
        cpu, (good, _), peak = measured(folder, "list")
        print(f"URL list of {n_lines:,} lines: {good:,} good, {cpu:.2f} CPU seconds, {peak:.0f} MB at most", flush=True)
        figures.append(Figure(f"URL list of {n_lines:,} lines, peak MB", peak, None, 300, "lower"))
        for zipped in (False, True):
            tables = folder / ("gzip" if zipped else "plain")
            generate(tables, rows, zipped=zipped)
            taken: dict[str, list[float]] = {"ours": [], "own": []}
            for run in range(arguments.runs or (1 if arguments.quick else 5)):
                answers = {what: measured(tables, what) for what in (list(taken) if run % 2 else reversed(taken))}
                if answers["ours"][1] != answers["own"][1]:
                    raise SystemExit(f"the two disagree: {answers}")
                for what, (cpu, _, _) in answers.items():
                    taken[what].append(cpu)
            found = answers["ours"][1][0]
            print(
                f"{tables.name}: {found:,} of {rows:,} photos; CPU seconds {taken}; {answers['ours'][2]:.0f} MB at most"
            )
            name = f"one taxon of {rows:,} photos, {tables.name}"
            figures.append(Figure(name, median(taken["ours"]), median(taken["own"]), 1.1, "lower"))
    print("\n".join(figure.line() for figure in figures))


if __name__ == "__main__":
    main()
