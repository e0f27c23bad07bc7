"""From an uploaded file to examples and their token counts: `python -m corpus.ingestion DIR`.

Three passes. Reading checks every record and writes it in the one form that the portal keeps;
counting renders and tokenises those; screening looks for duplicates, contamination, secrets and
personal data. The first two are cut into parts that are saved as they are done: a killed one
goes on where it was. DIR/config.json in; DIR/attempts/<N>/output out: examples.jsonl,
problems.jsonl, summary.json, and hashes and sketches of the examples. Nothing is passed
over: a record becomes an example, is a problem with its line, or is left out with its reason, and
every field of it is accounted for.
"""

_HELD_OUT_ONE_IN = 10
_FIRST_FIELDS_BYTES = 200
"""Line, hash and side of an example take no more."""


def is_held_out(sha256: str) -> bool:
    """Whether an example of this content hash is kept from training: about one in ten.

    It depends on the content alone, not on the file: an example that comes again, with more lines
    or in another batch, is on the same side, so no later session trains on what an earlier one set
    aside. The price is that a file of a few lines may have none on one of the sides.
    """
    return int(sha256[:8], 16) % _HELD_OUT_ONE_IN == 0


def is_held_out_line(line: bytes) -> bool:
    """The same of a line of examples.jsonl, without decoding it: `held_out` is a first field."""
    return b'"held_out":true' in line[:_FIRST_FIELDS_BYTES]
