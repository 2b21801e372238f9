"""What expat makes of documents: the reference that tests/framer_differential.rs compares with.

Reads documents from standard input, each as a length (4 bytes, big-endian) and its bytes. For each it writes one byte,
1 if expat accepts it and 0 if not, and then, with a length in front, what it saw inside of the root element (or
the error). Bytes below 0x20 that XML forbids separate the parts:

    S 00 namespace 00 local name 00 (attribute namespace 00 local name 00 value 00)* 01     in sorted order
    T text 01                                                                                merged
    E 01

White space right inside of the root element is left out.
"""

import sys
from xml.parsers import expat

SEPARATOR = "\x02"


def expanded(name):
    namespace, _, local = name.rpartition(SEPARATOR)
    return namespace + "\0" + local + "\0"


def events(document):
    parser = expat.ParserCreate("UTF-8", SEPARATOR)
    parser.buffer_text = True
    parser.ordered_attributes = True
    parser.specified_attributes = True
    out = []
    texts = []
    depth = 0

    def flush():
        text = "".join(texts)
        texts.clear()
        if text and (depth > 1 or text.strip(" \t\r\n")):
            out.append("T" + text + "\1")

    def start(name, attributes):
        nonlocal depth
        flush()
        depth += 1
        if depth > 1:
            pairs = zip(attributes[::2], attributes[1::2])
            out.append("S\0" + expanded(name) + "".join(sorted(expanded(n) + v + "\0" for n, v in pairs)) + "\1")

    def end(_name):
        nonlocal depth
        flush()
        if depth > 1:
            out.append("E\1")
        depth -= 1

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = texts.append
    parser.Parse(document, True)
    return "".join(out)


def main():
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while length := source.read(4):
        document = source.read(int.from_bytes(length, "big"))
        try:
            verdict, told = b"\1", events(document)
        except expat.ExpatError as error:
            verdict, told = b"\0", str(error)
        told = told.encode()
        sink.write(verdict + len(told).to_bytes(4, "big") + told)
        sink.flush()


main()
