"""Counts what a catalogue must hold after an import of a CSV file and a refresh, or prints the cleaned fields.

This is an independent check: it was written from the description of the presets' rules, not from their code, and
shares none with the server. It prints one JSON document with sorted keys; the same keys stand in it for both kinds,
empty or 0 where a rule or a field does not exist for the kind.

    count_catalogue.py --kind image|audio FILE.csv[.gz] [--changes CHANGES.ndjson] [--taken-down ID ...]
                       [--terms TERMS.txt] [--cleaned]
"""
import argparse
import gzip
import json
import re
import sys
import unicodedata
import uuid
from collections import Counter

DENY_EXACT = {"no person", "squareformat", "uploaded:by=flickrmobile", "uploaded:by=instagram",
              "flickriosapp:filter=flamingo", "by"}
DENY_PART = ("flickriosapp", "uploaded", ":", "=", "cc0", "by-nc", "by-nd", "by-sa", "by-nc-nd", "by-nc-sa", "pdm")
DROP_PROVIDERS = {"rekognition"}
MIN_ACCURACY = 0.90
HTTP_HOSTS = {"collections.musee-mccord.qc.ca"}
URL_FIELDS = ("url", "creator_url", "foreign_landing_url")
DROP_REASONS = ("malformed", "accuracy", "provider", "deny-exact", "deny-part")
DERIVED = ("extension", "size", "aspect_ratio", "length")
JSON_FIELDS = ("tags", "meta_data", "alt_files")
NUMBER_FIELDS = ("width", "height", "duration")
BOOLEANS = {"t": True, "true": True, "f": False, "false": False}
# One field and what ends it: a quoted text in which "" is a quote, or a text without quotes; then , or the line's end.
FIELD = re.compile(r'(?:"([^"]*(?:""[^"]*)*)"|([^,"\r\n]*))(,|\r?\n|\r|\Z)')
NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
DESCRIPTION_MAX = 2000
# Soft hyphens, joiners, marks of direction, variation selectors and byte order marks, which do not count in a word.
UNSEEN = re.compile("[\u00ad\u061c\u200c-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufe00-\ufe0f\ufeff]")
# Letters of which each is a word, by the beginning of their names; and signs that are words.
ALONE = ("CJK UNIFIED", "HIRAGANA", "THAI", "LAO", "MYANMAR", "KHMER")
EMOJI = re.compile("[\u2600-\u27bf\U0001f000-\U0001faff]")
# What joins letters (l), numbers (n), or either (b), where it stands between two of them.
JOINING = {**dict.fromkeys(":\u00b7\u0387\u2027\ufe55\uff1a", "l"), **dict.fromkeys(",;\u066c\uff0c\uff1b", "n"),
           **dict.fromkeys(".'\u2018\u2019\u2024\ufe52\uff07\uff0e", "b")}
# A standard word in classes of characters: letters L, digits N and signs as _ U; Katakana K; what is a word alone S.
WORD = re.compile("[LNU](?:[LNU]|(?<=L)[lb](?=L)|(?<=N)[nb](?=N))*|K[KU]*|S")


def read_text(path):
    """The text of a file, plain or gzip (told by its first bytes, not by its name)."""
    with open(path, "rb") as file:
        data = file.read()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    return data.decode("utf-8-sig")


def csv_lines(text):
    """Lists of values; a value without quotes and without text is null, `""` is the empty text."""
    position, values = 0, []
    while position < len(text):
        match = FIELD.match(text, position)
        if not match:
            raise ValueError(f"not CSV at line {text.count(chr(10), 0, position) + 1}")
        quoted, bare, end = match.groups()
        values.append(quoted.replace('""', '"') if quoted is not None else bare or None)
        position = match.end()
        if end != ",":
            if values != [None]:
                yield values
            values = []
        elif position == len(text):
            values.append(None)
    if values:
        yield values


def typed(name, value):
    """A value of the CSV file as the field's type; only the fields that a rule reads are decoded."""
    if value is None:
        return None
    if name in JSON_FIELDS:
        return json.loads(value)
    if name in NUMBER_FIELDS:
        return int(value)
    if name == "removed_from_source":
        return BOOLEANS[value.lower()]
    return value


def csv_records(path):
    lines = csv_lines(read_text(path))
    header = next(lines)
    for number, values in enumerate(lines, 1):
        if len(values) != len(header):
            raise ValueError(f"record {number} has {len(values)} values, the header has {len(header)}")
        yield {name: typed(name, value) for name, value in zip(header, values)}


def changed_records(path):
    return [json.loads(line) for line in read_text(path).split("\n") if line.strip()]


def by_identifier(records):
    """The last record of each identifier."""
    return {str(uuid.UUID(record["identifier"])): record for record in records}


def accuracy_of(value):
    """The number in an accuracy, which may be written as text; None if there is none."""
    if isinstance(value, str) and NUMBER.fullmatch(value):
        return float(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    return None


def reason_to_drop(tag):
    """The first reason (4a) that applies to a tag, or None if it stays."""
    if not isinstance(tag, dict) or not isinstance(tag.get("name"), str):
        return "malformed"
    if "accuracy" in tag:
        accuracy = accuracy_of(tag["accuracy"])
        if accuracy is None:
            return "malformed"
        if accuracy < MIN_ACCURACY:
            return "accuracy"
    provider, name = tag.get("provider"), tag["name"].lower()
    if isinstance(provider, str) and provider in DROP_PROVIDERS:
        return "provider"
    if name in DENY_EXACT:
        return "deny-exact"
    return "deny-part" if any(part in name for part in DENY_PART) else None


def tag_reasons(tags):
    """One entry per tag: why it goes, or None. Tags that are no array count as one malformed tag."""
    if tags is None or tags == {}:
        return []
    return [reason_to_drop(tag) for tag in tags] if isinstance(tags, list) else ["malformed"]


def count_tags(rows):
    dropped, changed, emptied = Counter({reason: 0 for reason in DROP_REASONS}), 0, 0
    for row in rows:
        reasons = tag_reasons(row.get("tags"))
        gone = [reason for reason in reasons if reason]
        dropped.update(gone)
        changed += bool(gone)
        emptied += bool(gone) and len(gone) == len(reasons)
    return {"records": changed, "dropped": dict(dropped), "emptied": emptied}


def repaired_url(value):
    """The URL with a scheme in front (4b); null, the empty text and a URL that has one stay as they are."""
    if not value or SCHEME.match(value):
        return value
    rest = value[2:] if value.startswith("//") else value
    host = re.split(r"[/?#:]", rest, maxsplit=1)[0].lower()
    return ("http://" if host in HTTP_HOSTS else "https://") + rest


def repair_urls(row, changed):
    for name in URL_FIELDS:
        value = row.get(name)
        if repaired_url(value) != value:
            changed[name] += 1
            row[name] = repaired_url(value)


def cleaned_tags(tags):
    """Tags without those that go; null and the empty object stay as they are."""
    if tags is None or tags == {}:
        return tags
    return [tag for tag in tags if reason_to_drop(tag) is None] if isinstance(tags, list) else []


def cleaned(records):
    """The fields of each image that a rule cleans."""
    def fields(row):
        return {"tags": cleaned_tags(row.get("tags")), **{name: repaired_url(row.get(name)) for name in URL_FIELDS}}
    return {identifier: fields(row) for identifier, row in records.items()}


def image_fields(row):
    """Lists of the values that an image's document has in each derived field (4c)."""
    width, height, url = row.get("width"), row.get("height"), row.get("url") or ""
    last = url.rpartition(".")[2].lower() if "." in url else ""
    fields = {"extension": [last] if last and "/" not in last else []}
    if width is not None and height is not None:
        pixels = width * height
        fields["size"] = ["small" if pixels < 307_200 else "medium" if pixels < 1_440_000 else "large"]
        fields["aspect_ratio"] = ["tall" if height > width else "wide" if height < width else "square"]
    return fields


def audio_fields(row):
    """As image_fields: the different filetypes of `alt_files`, or the record's own; the length in milliseconds."""
    files = row.get("alt_files") if isinstance(row.get("alt_files"), list) else []
    types = [file.get("filetype") for file in files if isinstance(file, dict)]
    found = {text for text in types if isinstance(text, str) and text}
    own, duration = row.get("filetype"), row.get("duration")
    fields = {"extension": sorted(found) or ([own] if own else [])}
    if duration:
        limits = ((30_000, "shortest"), (120_000, "short"), (600_000, "medium"), (float("inf"), "long"))
        fields["length"] = [next(name for limit, name in limits if duration < limit)]
    return fields


def is_mature(row):
    """Only true is true. A file holds no flags: they are events of their own."""
    meta_data = row.get("meta_data")
    return isinstance(meta_data, dict) and meta_data.get("mature") is True


def class_of(character):
    """The class of a character in WORD; M for a mark, which belongs to the character before it."""
    category, name = unicodedata.category(character), unicodedata.name(character, "")
    if character in JOINING:
        return JOINING[character]
    if category[0] == "M" or category == "Cf" and character != "\u200b":
        return "M"
    if name.startswith("KATAKANA"):
        return "K"
    if name.startswith(ALONE) or category == "No" or EMOJI.match(character):
        return "S"
    return "L" if category[0] == "L" or category == "Nl" else {"Nd": "N", "Pc": "U"}.get(category, "-")


def words(text):
    """The standard words of a text (UAX #29), without regard to case, canonical form and what is not seen."""
    classes, units = "", []
    for character in text:
        found = class_of(character)
        if found != "M":
            classes += found
            units.append(character)
        elif units:
            units[-1] += character
    cut = ("".join(units[match.start():match.end()]) for match in WORD.finditer(classes) if match[0].strip("U"))
    return [unicodedata.normalize("NFC", UNSEEN.sub("", word).casefold()) for word in cut]


def searched(row):
    """The words of each text that is searched for terms: title, indexed description, names of tags that are kept."""
    meta_data, tags = row.get("meta_data"), cleaned_tags(row.get("tags"))
    description = meta_data.get("description") if isinstance(meta_data, dict) else None
    texts = [row.get("title"), description[:DESCRIPTION_MAX] if isinstance(description, str) else None]
    texts += [tag["name"] for tag in tags] if isinstance(tags, list) else []
    return [words(text) for text in texts if isinstance(text, str)]


def holds(texts, term):
    """Whether the words of a term follow one another in one of the texts."""
    size = len(term)
    return size > 0 and any(text[at:at + size] == term for text in texts for at in range(len(text) - size + 1))


def count_sensitive(documents, terms):
    """How many documents hold a term, how many the filtered search finds, and the terms that no document holds."""
    if terms is None:
        return {"sensitive": None, "filtered": None, "terms_without_hit": None}
    texts = [searched(row) for row in documents]
    of_term = {term: words(term) for term in terms}
    sensitive = sum(any(holds(of_row, term) for term in of_term.values()) for of_row in texts)
    unseen = [term for term, of in of_term.items() if not any(holds(of_row, of) for of_row in texts)]
    return {"sensitive": sensitive, "filtered": len(documents) - sensitive, "terms_without_hit": unseen}


def count_derived(kind, documents):
    counts = {name: Counter() for name in DERIVED}
    for row in documents:
        for name, values in (image_fields if kind == "image" else audio_fields)(row).items():
            counts[name].update(values)
    return {**{name: dict(values) for name, values in counts.items()}, "mature": sum(map(is_mature, documents))}


def count_by_source(rows):
    return dict(Counter("" if row.get("source") is None else row["source"] for row in rows))


def count(kind, records, taken_down, terms):
    rows = [row for identifier, row in records.items() if identifier not in taken_down]
    tags, urls = count_tags(rows), dict.fromkeys(URL_FIELDS if kind == "image" else (), 0)
    for row in rows if kind == "image" else ():
        repair_urls(row, urls)
    documents = [row for row in rows if row.get("removed_from_source") is not True]
    return {"records": len(rows), "taken_down": len(taken_down & records.keys()), "by_source": count_by_source(rows),
            "documents": len(documents), "documents_by_source": count_by_source(documents),
            "excluded": sum(row.get("removed_from_source") is True for row in rows),
            "rules": {"tags": tags, "url": {"fields": urls}}, "derived": count_derived(kind, documents),
            **count_sensitive(documents, terms)}


def main():
    parser = argparse.ArgumentParser(description="Counts what a catalogue must hold after an import and a refresh.")
    parser.add_argument("--kind", choices=("image", "audio"), required=True)
    parser.add_argument("file", metavar="FILE", help="records: CSV with a header, plain or gzip")
    parser.add_argument("--changes", metavar="FILE", help="whole records as NDJSON that replace or add, after the file")
    parser.add_argument("--taken-down", metavar="ID", nargs="+", action="extend", default=[])
    parser.add_argument("--terms", metavar="FILE", help="sensitive terms, one a line")
    parser.add_argument("--cleaned", action="store_true", help="print the cleaned fields of each image")
    arguments = parser.parse_args()
    records = by_identifier(csv_records(arguments.file))
    if arguments.changes:
        records.update(by_identifier(changed_records(arguments.changes)))
    taken_down = {str(uuid.UUID(text)) for text in arguments.taken_down}
    terms = None
    if arguments.terms:
        lines = read_text(arguments.terms).split("\n")
        terms = list(dict.fromkeys(line.rstrip("\r") for line in lines if line.strip()))
    result = cleaned(records) if arguments.cleaned else count(arguments.kind, records, taken_down, terms)
    json.dump(result, sys.stdout, indent=1, sort_keys=True, ensure_ascii=False)
    print()


if __name__ == "__main__":
    main()
