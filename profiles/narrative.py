"""The `div` of a Narrative: which XHTML it may hold (FHIR R4 narrative.html, invariants txt-1 and txt-2)."""

from typing import Any
from xml.parsers import expat

# Elements within one another, the div itself counted: as many in JSON as in XML.
MAX_DEPTH = 60
_XHTML = "http://www.w3.org/1999/xhtml"
_XML = "http://www.w3.org/XML/1998/namespace"

# HTML 4.0 chapters 7 to 11 (without 9.4) and 15, anchors, images; so nothing active, no forms, no style sheets.
_ELEMENT_NAMES = (
    "div span p br hr h1 h2 h3 h4 h5 h6 address bdo em strong dfn code samp kbd var cite abbr acronym q blockquote sub "
    "sup pre ul ol li dl dt dd table caption colgroup col thead tfoot tbody tr th td tt i b big small strike s u a img "
    "map area"
)
_ATTRIBUTE_NAMES = (
    "abbr accesskey align alt axis bgcolor border cellhalign cellpadding cellspacing cellvalign char charoff cite "
    "class clear colspan compact coords dir frame headers height href hreflang hspace id ismap lang longdesc name "
    "noshade nowrap rel rev rowspan rules scope shape size span src start style summary tabindex target title type "
    "usemap valign value vspace width"
)
_ELEMENTS = frozenset(_ELEMENT_NAMES.split())
_ATTRIBUTES = frozenset(_ATTRIBUTE_NAMES.split()) | {f"{_XML} lang", f"{_XML} space"}
_LINKS = frozenset({"href", "src", "cite", "longdesc", "usemap"})


class _Refused(Exception):
    pass


class _Reader:
    """Takes expat's events and remembers whether there was anything to see."""

    def __init__(self) -> None:
        self.has_content = False
        self._depth = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _Refused(f"its elements are nested deeper than {MAX_DEPTH} levels")
        namespace, _, local = name.rpartition(" ")
        if namespace != _XHTML:
            raise _Refused("its elements must be in the namespace http://www.w3.org/1999/xhtml")
        if local not in _ELEMENTS:
            raise _Refused("it may only hold text, lists, tables, links and images of HTML; leave other elements out")
        if local == "img":
            self.has_content = True
        for key, value in attributes.items():
            if key not in _ATTRIBUTES:
                raise _Refused("it has an attribute that narratives may not use; leave it out")
            if key in _LINKS and _is_active("".join(value.split()).lower()):
                raise _Refused("it has an active link; leave it out")

    def end(self, _: str) -> None:
        self._depth -= 1

    def text(self, data: str) -> None:
        if not self.has_content and data.strip():
            self.has_content = True

    def declaration(self, *_: Any) -> None:
        raise _Refused("a document type, an entity or a processing instruction is not allowed; leave it out")


def _is_active(link: str) -> bool:
    if link.startswith("data:"):
        return not link.startswith("data:image/")
    return link.startswith(("javascript:", "vbscript:"))


def fault(div: str) -> tuple[str, str] | None:
    """What is wrong with the text of a `div`, without quoting it, as (issue code, text); None when nothing is."""
    if not div.startswith("<div"):
        return "structure", "it must start with <div"
    reader = _Reader()
    try:
        _parser(reader).Parse(div, True)
    except expat.ExpatError as error:
        return "structure", f"it must be well-formed XML: {expat.ErrorString(error.code)} at character {error.offset}"
    except UnicodeEncodeError:
        return "structure", "it is not valid Unicode"
    except _Refused as error:
        return "invariant", str(error)
    return None if reader.has_content else ("invariant", "it must have some text or an image")


def _parser(reader: _Reader) -> expat.XMLParserType:
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = reader.declaration
    parser.EntityDeclHandler = reader.declaration
    parser.ProcessingInstructionHandler = reader.declaration
    return parser
