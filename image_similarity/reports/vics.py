"""VICS-2.0-style JSON: one Media for each content, one MediaFiles entry for each place. Not certified.

The structure is the one that public tools read and write; the model itself is shared under agreement only, so nothing
here is certified to conform to it. What is not known is left out or, where the format has a flag, stands at its default
and is said to in Comments: no time, category or statement is invented.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any, TextIO

from image_similarity import __version__
from image_similarity.reports.about import About, lines
from image_similarity.reports.rows import json_text, notes, utc
from image_similarity.reports.searches import Entry, hit_text
from image_similarity.reports.text import whole_text
from image_similarity.values import CaseFacts, ImageRecord, Place

# By this a file is known as a report; see `target`.
MARK = '"SourceApplicationName": "image_similarity (VICS-style, not certified)"'
CONTEXT = "http://github.com/VICSDATAMODEL/ProjectVic/DataModels/2.0.xml/US/$metadata#Cases"

_CAUTION = (
    "VICS-style, not certified. VictimIdentified, OffenderIdentified, IsDistributed, IsSuspected and SelfGenerated "
    "stand at the format's default, false: this program knows nothing of them. Category is the examiner's where it is "
    "a number from 0 to 5, else 0."
)
_UNKNOWN = (
    "VictimIdentified",
    "OffenderIdentified",
    "IsDistributed",
    "IsSuspected",
    "SelfGenerated",
)


def write(stream: TextIO, entries: Iterable[Entry], about: About, contents: int) -> None:
    """Write a case with its media, each content once, one a line; its Comments end with the audit head.

    Args:
        stream: Where to.
        entries: The pictures, each content once, with all hits that it is.
        about: What the report says beside them.
        contents: How many they are; the format wants to know before.
    """
    case = json_text(_case(about, contents))
    stream.write(f'{{"@odata.context": {json_text(CONTEXT)}, "value": [{case[:-1]}, "Media": [')
    for number, entry in enumerate(entries, start=1):
        stream.write(("\n" if number == 1 else ",\n") + json_text(_media(number, entry)))
    comments = "\n".join([_CAUTION, *lines(about)])
    stream.write(f'\n], "Comments": {json_text(whole_text(comments))}}}]}}\n')


def _case(about: About, contents: int) -> dict[str, Any]:
    said = (each.facts for each in about.coverages if each.facts != CaseFacts())
    facts = next(said, CaseFacts())
    named = facts.number or ", ".join(each.status.path for each in about.coverages)
    return {
        "CaseID": str(uuid.uuid5(uuid.NAMESPACE_OID, f"image_similarity case {whole_text(named)}")),
        "CaseNumber": whole_text(facts.number),
        "ContactName": whole_text(facts.examiner),
        "ContactEmail": whole_text(facts.examiner) if "@" in facts.examiner else "",
        "SourceApplicationName": "image_similarity (VICS-style, not certified)",
        "SourceApplicationVersion": __version__,
        "TotalMediaFiles": contents,
    }


def _media(number: int, entry: Entry) -> dict[str, Any]:
    image = entry.image
    comments = [f"SHA-256 {image.sha256}"]
    if image.partial:
        comments.append("decoded only in part")
    comments += [f"note: {note}" for note in notes(image)]
    comments += [f"in hash list {each.list} by {each.algorithm}" for each in image.known]
    comments += map(hit_text, entry.hits)
    return {
        "MediaID": number,
        "Category": category(image),
        "MD5": image.md5.upper(),
        "SHA1": image.sha1.upper(),
        "MediaSize": image.size,
        "MimeType": image.mime,
        **({"RelativeFilePath": image.places[0].path} if image.places else {}),
        **dict.fromkeys(_UNKNOWN, False),
        "Tags": whole_text(";".join(image.tags)),
        "Series": "",
        "Comments": whole_text("\n".join(comments)),
        "Exifs": [
            {"PropertyName": name, "PropertyValue": whole_text(str(value))}
            for name, value in sorted(image.exif.items())
        ],
        "MediaFiles": [_file(place) for place in image.places],
    }


def category(image: ImageRecord) -> int:
    """Return the examiner's category where it is a number from 0 to 5, else 0, which is "not categorised"."""
    return int(image.category) if image.category in set("012345") else 0


def _file(place: Place) -> dict[str, Any]:
    """A place, with the times that the file system gave; the time of creation is not recorded, so it is left out."""
    times = {"Written": utc(place.mtime_ns), "Accessed": utc(place.atime_ns)}
    return {
        "FileName": place.path.rpartition("/")[2],
        "FilePath": place.full_path,
        **{name: value for name, value in times.items() if value is not None},
    }
