"""Texts that audit entries repeat, each written once in a file and known by a number from then on.

Rows are only ever added, in the transaction of the first entry that uses them. A hash covers an entry with its texts
in place, so a name that is changed breaks every entry that uses it.
"""

import apsw

MOST_KNOWN = 50_000
MOST_HEADS = 2_000
MOST_FORMS = 20_000


class Names:
    """The names of one file, over one connection, with a memory of those seen."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._numbers: dict[str, int] = {}
        self._texts: dict[int, str] = {}
        self.last = 0
        self.forms: dict[object, bytes] = {}  # texts that are not names, and lists of them, as they are packed
        self.heads: dict[tuple[object, ...], bytes] = {}  # what entries begin with, as it is packed

    def number(self, text: str) -> int:
        """The number of a text, which is written when it is new."""
        known = self._numbers.get(text)
        if known is not None:
            return known
        row = self._connection.execute("SELECT number FROM audit_name WHERE text = ?", (text,)).fetchone()
        if row is None:
            self._connection.execute("INSERT INTO audit_name (text) VALUES (?)", (text,))
            row = (self._connection.last_insert_rowid(),)
            self.last = row[0]
        number = int(row[0])
        self._remember(number, text)
        return number

    def keep_head(self, beginning: tuple[object, ...], packed: bytes) -> bytes:
        """Remember what entries begin with."""
        if len(self.heads) >= MOST_HEADS:
            self.heads.clear()
        self.heads[beginning] = packed
        return packed

    def keep_form(self, value: object, packed: bytes) -> None:
        """Remember how a text or a list of texts is packed."""
        if len(self.forms) >= MOST_FORMS:
            self.forms.clear()
        self.forms[value] = packed

    def text(self, number: int) -> str:
        """The text of a number. Raises ValueError when there is none."""
        known = self._texts.get(number)
        if known is None:
            row = self._connection.execute("SELECT text FROM audit_name WHERE number = ?", (number,)).fetchone()
            if row is None:
                raise ValueError(f"there is no name {number}")
            known = str(row[0])
            self._remember(number, known)
        return known

    def begin(self) -> None:
        """Learn how many names there are, now that no other process can add one."""
        row = self._connection.execute("SELECT max(number) FROM audit_name").fetchone()
        self.last = int(row[0] or 0) if row is not None else 0

    def forget_after(self, last: int) -> None:
        """Forget the names after a number, which were rolled back."""
        self.heads.clear()
        self.forms.clear()
        for number in [number for number in self._texts if number > last]:
            self._numbers.pop(self._texts.pop(number), None)
        self.last = last

    def _remember(self, number: int, text: str) -> None:
        if len(self._texts) >= MOST_KNOWN:
            self._texts.clear()
            self._numbers.clear()
        self._texts[number] = text
        self._numbers[text] = number
