#!/usr/bin/env python3
"""Measures cleaning: records a second on one processor, in Rust and in plain Python, of the same records.

    clean.py [--records 200000]

Makes records with 12 tags each, of which some are to be dropped, and URLs without a scheme. The Python program applies
the rules of the preset openverse-image and derives the fields of a document; its JSON is parsed before the time is
taken. The Rust program takes the time with and without parsing. Both must come to the same counts. Prints the rates and
their ratios."""
import argparse
import json
import pathlib
import random
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXACT = {"no person", "squareformat", "uploaded:by=flickrmobile", "uploaded:by=instagram", "flickriosapp:filter=flamingo", "by"}
PARTS = ["flickriosapp", "uploaded", ":", "=", "cc0", "by-nc", "by-nd", "by-sa", "by-nc-nd", "by-nc-sa", "pdm"]
AUTHORITY = {
    75: "flickr behance thingiverse sketchfab deviantart",
    85: "stocksnap rawpixel",
    90: "thorvaldsensmuseum svgsilh smithsonian rijksmuseum museumsvictoria met mccordsmuseum digitaltmuseum clevelandmuseum brooklynmuseum",
}
BY_PROVIDER = {name: value for value, names in AUTHORITY.items() for name in names.split()}
WORDS = "harbour boat pier dusk heron reed water stone bridge canal bird lamp roof field snow".split()


def id_of(number):
    return f"00000000-0000-4000-8000-{number:012}"


def record(number, dice):
    tags = []
    for _ in range(12):
        tag = {"name": dice.choice(WORDS) + str(dice.randrange(100))}
        kind = dice.randrange(20)
        if kind == 0:
            tag["name"] = dice.choice(["No Person", "uploaded by phone", "a=b", "12:30"])
        if kind < 4:
            tag["accuracy"] = round(dice.uniform(0.8, 1), 3)
        if kind == 4:
            tag["provider"] = "rekognition"
        tags.append(tag)
    scheme = dice.choice(["", "", "https://"])
    return {
        "identifier": id_of(number),
        "title": " ".join(dice.choices(WORDS, k=5)), "creator": dice.choice(WORDS), "license": dice.choice(["BY", "CC0"]),
        "provider": dice.choice(list(BY_PROVIDER) + ["eol"]), "source": "eol", "width": dice.randrange(1, 4000),
        "height": dice.randrange(1, 3000), "url": f"{scheme}img.example/{number}.JPG", "creator_url": "img.example/me",
        "foreign_landing_url": f"https://img.example/{number}", "tags": tags, "standardized_popularity": dice.random(),
        "meta_data": {"description": " ".join(dice.choices(WORDS, k=30))},
    }


def keeps(tag, dropped):
    name = tag.get("name")
    if not isinstance(name, str):
        dropped["malformed"] += 1
        return False
    accuracy = tag.get("accuracy")
    if accuracy is not None and float(accuracy) < 0.9:
        dropped["accuracy"] += 1
        return False
    if tag.get("provider") == "rekognition":
        dropped["provider"] += 1
        return False
    lower = name.lower()
    if lower in EXACT:
        dropped["deny_exact"] += 1
        return False
    if any(part in lower for part in PARTS):
        dropped["deny_part"] += 1
        return False
    return True


def clean(fields, counts):
    for name in ("url", "creator_url", "foreign_landing_url"):
        url = fields.get(name)
        if url and not url.startswith(("http://", "https://")):
            fields[name] = "https://" + url
            counts["urls"] += 1
    tags = fields.get("tags")
    if tags:
        fields["tags"] = [tag for tag in tags if keeps(tag, counts)]


def document(fields):
    made = {name: fields[name] for name in ("identifier", "title", "creator", "provider", "source", "url") if fields.get(name)}
    width, height = fields.get("width"), fields.get("height")
    if width and height:
        pixels = width * height
        made["size"] = "small" if pixels < 307200 else "medium" if pixels < 1440000 else "large"
        made["aspect_ratio"] = "tall" if height > width else "wide" if height < width else "square"
    extension = fields["url"].rsplit(".", 1)[-1].lower()
    if extension and "/" not in extension:
        made["extension"] = extension
    popularity = fields.get("standardized_popularity")
    popularity = min(popularity * 100, 100) if popularity and popularity > 0 else None
    authority = BY_PROVIDER.get(fields.get("provider"))
    made["standardized_popularity"], made["authority_boost"] = popularity, authority
    made["max_boost"] = max(popularity or 1, authority or 1)
    made["min_boost"] = min(popularity or 1, authority or 1)
    meta = fields.get("meta_data") or {}
    made["mature"] = meta.get("mature") is True
    made["description"] = (meta.get("description") or "")[:2000]
    made["license"] = fields["license"].lower()
    made["tags"] = [{key: tag[key] for key in ("name", "accuracy") if key in tag} for tag in fields["tags"]]
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200_000)
    given = parser.parse_args()
    dice = random.Random(1)
    with tempfile.NamedTemporaryFile("w", suffix=".ndjson") as file:
        for number in range(given.records):
            file.write(json.dumps(record(number, dice)) + "\n")
        file.flush()
        build = ["cargo", "build", "--release", "--locked", "--package", "daybook-catalogue", "--example", "clean"]
        subprocess.run(build, cwd=ROOT, check=True)
        rates = []
        for _ in range(3):
            parsed = [json.loads(line) for line in open(file.name)]
            counts = dict.fromkeys(["urls", "malformed", "accuracy", "provider", "deny_exact", "deny_part"], 0)
            began = time.perf_counter()
            for fields in parsed:
                clean(fields, counts)
                document(fields)
            python = given.records / (time.perf_counter() - began)
            done = subprocess.run([ROOT / "target/release/examples/clean", file.name], check=True, capture_output=True)
            rust = json.loads(done.stdout)
            rates.append((rust["cleaning"] / python, rust["with_decoding"] / python))
            same = counts == rust["counts"]
            print(f"Rust {rust['cleaning']:,.0f}/s, with parsing {rust['with_decoding']:,.0f}/s, Python {python:,.0f}/s; same counts: {same}")
        cleaning, with_decoding = (sorted(column)[1] for column in zip(*rates))
        print(f"median: {cleaning:.1f}x, with parsing {with_decoding:.1f}x; counts {rust['counts']}")


if __name__ == "__main__":
    main()
