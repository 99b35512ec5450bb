"""Benchmark of the knowledge base, beside bm25s and rank_bm25 on the same passages and queries.

python tests/bench_kb.py --passages 1000000 --subset 200000 --folder data/cache/bench --out bench_kb.json

Needs `pip install bm25s rank_bm25`. The encyclopaedia is generated: Zipf words, pages of 1 to 9 passages about a few
topic words each, names as titles, a redirect for every tenth page.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fence_nb.evidence.kb import KnowledgeBase

WORDS = 300_000  # different words; natural text of this size has as many and more
SYLLABLES = [a + b for a in "b d f g k l m n p r s t v z br st tr".split() for b in "a e i o u ai or".split()]


def word(n: int) -> str:
    "The n-th word: frequent words are short, as in nature."
    out = ""
    while True:
        out, n = out + SYLLABLES[n % len(SYLLABLES)], n // len(SYLLABLES) - 1
        if n < 0:
            return out


def generate(path: Path, passages: int, seed: int) -> None:
    "JSON lines of pages and redirects; each line of a page is one passage."
    rng = np.random.default_rng(seed)
    words = [word(n) for n in range(WORDS)]
    chance = 1 / (np.arange(1, WORDS + 1) + 2.7) ** 1.05
    total = np.cumsum(chance / chance.sum())
    left, page = passages, 0
    with open(path, "w", encoding="utf-8") as f, tqdm(total=passages, desc="generate", mininterval=5) as bar:
        while left:
            title = " ".join(word(int(n)).capitalize() for n in rng.integers(WORDS, WORDS * 30, 2))
            topic, lines = rng.integers(200, 60_000, 25), []
            for _ in range(min(left, int(rng.integers(1, 10)))):
                n = int(rng.integers(55, 100))
                at = np.minimum(np.searchsorted(total, rng.random(n)), WORDS - 1)
                about = rng.random(n) < 0.15
                at[about] = rng.choice(topic, int(about.sum()))
                text, k = [words[i] for i in at], 0
                text[0] = title
                while (k := k + int(rng.integers(8, 25))) < n - 1:
                    text[k] += "."
                lines.append(" ".join(text) + ".")
            f.write(json.dumps({"title": title, "text": "\n".join(lines)}) + "\n")
            if page % 10 == 0:
                f.write(json.dumps({"title": title.split()[1] + ", " + title.split()[0], "redirect": title}) + "\n")
            left -= len(lines)
            page += 1
            bar.update(len(lines))


def timed(work, items: list) -> tuple[dict, list]:
    """Time for each item, one after another, and what came back.

    By the clock, and of the processor (which other work on the machine leaves alone).
    """
    clock, cpu, out = [], [], []
    for item in items:
        start = time.perf_counter(), time.process_time()
        out.append(work(item))
        clock.append(time.perf_counter() - start[0])
        cpu.append(time.process_time() - start[1])

    def ms(x: list, q: int) -> float:
        return round(float(np.percentile(x, q)) * 1e3, 3)

    return {
        "n": len(items),
        "p50_ms": ms(clock, 50),
        "p95_ms": ms(clock, 95),
        "max_ms": ms(clock, 100),
        "per_second": round(len(clock) / sum(clock), 2),
        "cpu_p50_ms": ms(cpu, 50),
        "cpu_p95_ms": ms(cpu, 95),
        "per_cpu_second": round(len(cpu) / sum(cpu), 2),
    }, out


def build(source: Path, out: Path) -> dict:
    "A build in a process of its own: seconds, passages a second, bytes, peak memory."
    code = (
        "import sys, json, time; from fence_nb.evidence.wikipedia import build_from\n"
        "print(json.dumps(build_from(sys.argv[1], sys.argv[2])))\n"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0], time.process_time())"
    )
    out.unlink(missing_ok=True)
    start = time.time()
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            str(source),
            str(out),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    seconds, counts, (peak, cpu) = time.time() - start, done.stdout.splitlines()[0], done.stdout.split()[-2:]
    return json.loads(counts) | {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(float(cpu), 1),
        "passages_per_second": round(json.loads(counts)["passages"] / seconds),
        "source_mb": round(source.stat().st_size / 1e6, 1),
        "file_mb": round(out.stat().st_size / 1e6, 1),
        "peak_rss_mb": round(int(peak) / 1024, 1),
    }


def questions(kb: KnowledgeBase, n: int, seed: int) -> dict[str, list]:
    """Claims of 5 to 12 words from a sentence, half of them with the page's name.

    Also questions of common words only, and titles of five kinds.
    """
    rng, total = np.random.default_rng(seed), kb.about()["passages"]
    out = {"claims": [], "common": [], "title": [], "capitals": [], "redirect": [], "slip": [], "unknown": []}
    most = [w for (w,) in kb.rows("select term from common order by n desc limit 300")] or ["ba", "be"]
    for i in range(n):
        at = int(rng.integers(1, total + 1))
        ((_, title, text),) = kb._texts([at])
        words, size = text.replace(".", "").split()[2:], int(rng.integers(5, 13))
        k = int(rng.integers(0, max(1, len(words) - size)))
        out["claims"].append(
            (at, " ".join(([*title.split(), *words[k : k + size - 2]]) if i % 2 else words[k : k + size]))
        )
        out["common"].append((0, " ".join(most[int(j)] for j in rng.integers(0, len(most), size))))
        out["title"].append(title)
        out["capitals"].append(title.upper())
        out["unknown"].append(" ".join(reversed(title[::-1].split())))
        cut = int(rng.integers(1, len(title) - 1))
        out["slip"].append(title[:cut] + title[cut + 1 :])
    names = kb.rows("select title from titles where target is not null")
    out["redirect"] = [names[int(i)][0] for i in rng.integers(0, len(names), n)]
    return out


def quality(found: list[list[int]], exact: list[list[int]], asked: list) -> dict:
    "How much of the exact top five is found, and how often the passage that the claim came from."
    return {
        "of_exact_top5": round(
            float(np.mean([len(set(f) & set(e)) / len(e) for f, e in zip(found, exact, strict=True) if e])), 3
        ),
        "same_first": round(float(np.mean([f[:1] == e[:1] for f, e in zip(found, exact, strict=True)])), 3),
        "source_found": round(float(np.mean([at in f for f, (at, _) in zip(found, asked, strict=True)])), 3),
        "source_found_by_exact": round(float(np.mean([at in e for e, (at, _) in zip(exact, asked, strict=True)])), 3),
    }


def beside(kb: KnowledgeBase, asked: dict[str, list], rank: int) -> dict:
    "Top five by the knowledge base, by bm25s, and (for `rank` queries) by rank_bm25, over the same passages."
    import bm25s

    out = {}
    texts = [
        f"{t} {x}"
        for i in range(1, kb.about()["passages"] + 1, 500)
        for _, t, x in sorted(kb._texts(list(range(i, min(i + 500, kb.about()["passages"] + 1)))))
    ]
    ids = {x: i for i, x in enumerate(texts, 1)}
    start = time.time()
    tokens = bm25s.tokenize(texts, stopwords=None, show_progress=False)
    peer = bm25s.BM25(k1=1.2, b=0.75)
    peer.index(tokens, show_progress=False)
    out["bm25s_index_seconds"] = round(time.time() - start, 1)
    del tokens
    for kind in ("claims", "common"):
        ours, found = timed(lambda q: kb.search(q[1], 5, 0.0), asked[kind])
        found = [[ids[f"{d.title} {d.text}"] for d in ds] for ds in found]
        theirs, exact = timed(
            lambda q: peer.retrieve(
                bm25s.tokenize([q[1]], stopwords=None, show_progress=False), k=5, show_progress=False, n_threads=0
            ).documents[0],
            asked[kind],
        )
        exact = [[int(i) + 1 for i in e] for e in exact]
        out[kind] = {"ours": ours | quality(found, exact, asked[kind]), "bm25s": theirs}
    if rank:
        from rank_bm25 import BM25Okapi

        start = time.time()
        okapi = BM25Okapi([t.lower().replace(".", "").split() for t in texts])
        out["rank_bm25_index_seconds"] = round(time.time() - start, 1)
        out["claims"]["rank_bm25"], _ = timed(
            lambda q: np.argsort(okapi.get_scores(q[1].lower().split()))[::-1][:5], asked["claims"][:rank]
        )
        for unit in ("second", "cpu_second"):
            out["claims"][f"times_rank_bm25_per_{unit}"] = round(
                out["claims"]["ours"][f"per_{unit}"] / out["claims"]["rank_bm25"][f"per_{unit}"], 1
            )
    out["peak_rss_mb_of_this_process"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    return out


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--passages", type=int, default=1_000_000)
    p.add_argument(
        "--subset",
        type=int,
        default=100_000,
        help="passages for the comparison with rank_bm25, which is slow and large",
    )
    p.add_argument("--queries", type=int, default=1000)
    p.add_argument("--rank", type=int, default=100, help="queries asked of rank_bm25")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--folder", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    a = p.parse_args()
    a.folder.mkdir(parents=True, exist_ok=True)
    result = {"seed": a.seed, "cores": os.cpu_count(), "load_at_start": os.getloadavg()}
    for name, n in (("full", a.passages), ("subset", a.subset)):
        source, db = a.folder / f"{n}.jsonl", a.folder / f"{n}.db"
        if not source.exists():
            generate(source.with_suffix(".new"), n, a.seed)
            os.replace(source.with_suffix(".new"), source)
        result[name] = {"build": build(source, db)}
        start = time.perf_counter()
        kb = KnowledgeBase(db)
        kb.lookup("nobody")
        result[name]["open_and_first_lookup_ms"] = round((time.perf_counter() - start) * 1e3, 2)
        asked = questions(kb, a.queries, a.seed + 1)
        result[name]["lookup"] = {
            kind: timed(kb.lookup, asked[kind])[0] for kind in ("title", "capitals", "redirect", "slip", "unknown")
        }
        result[name]["lookup"]["all"] = timed(
            kb.lookup,
            [asked[kind][i] for i in range(a.queries) for kind in ("title", "capitals", "redirect", "slip", "unknown")],
        )[0]
        result[name]["slips_found"] = round(float(np.mean([bool(kb.lookup(s)) for s in asked["slip"]])), 3)
        result[name] |= beside(kb, asked, a.rank if name == "subset" else 0)
        result["load_at_end"] = os.getloadavg()
        a.out.write_text(json.dumps(result, indent=1) + "\n")
    table(result)


def times(v: dict) -> str:
    "The times of one row, in columns."
    clock = f"{v['p50_ms']:>9}{v['p95_ms']:>9}{v['per_second']:>10}"
    return clock + f"{v['cpu_p50_ms']:>9}{v['cpu_p95_ms']:>9}{v['per_cpu_second']:>11}"


def table(result: dict) -> None:
    for name in ("full", "subset"):
        r = result[name]
        b = r["build"]
        print(
            f"\n{b['passages']:,} passages: built in {b['seconds']} s, {b['cpu_seconds']} of processor time "
            f"({b['passages_per_second']:,} passages/s), {b['file_mb']} MB from {b['source_mb']} MB, "
            f"peak memory {b['peak_rss_mb']} MB"
        )
        print(f"{'':<28}{'p50 ms':>9}{'p95 ms':>9}{'per s':>10}{'cpu p50':>9}{'cpu p95':>9}{'per cpu s':>11}")
        for kind, v in r["lookup"].items():
            print(f"{'lookup, ' + kind:<28}{times(v)}")
        for kind in ("claims", "common"):
            for who, v in r[kind].items():
                if isinstance(v, dict):
                    print(
                        f"{'top 5, ' + kind + ', ' + who:<28}{times(v)}"
                        + (f"   {v['of_exact_top5']:.1%} of the exact top 5" if "of_exact_top5" in v else "")
                    )
        if "rank_bm25" in r["claims"]:
            print(
                f"throughput beside rank_bm25: {r['claims']['times_rank_bm25_per_second']} times by the clock, "
                f"{r['claims']['times_rank_bm25_per_cpu_second']} by processor time"
            )
    print(
        f"\nload of the machine ({result['cores']} cores): {result['load_at_start'][0]:.1f} at the start, "
        f"{result['load_at_end'][0]:.1f} at the end"
    )


if __name__ == "__main__":
    main()
