"""The rows of booking's operations, for the table of interactions."""

from fhir_server.booking.operations import availability, book, break_glass, conflicts, find, hold, people, result
from fhir_server.interactions.interaction import Interaction

_IHE = "https://profiles.ihe.net/ITI/Scheduling/OperationDefinition/appointment"

ROWS: tuple[Interaction, ...] = (
    Interaction("$find", "POST", "Appointment/$find", "", "C", find.handle, "parameters", only_reads=True,
                transaction="ITI-115", definition=f"{_IHE}-find"),
    Interaction("$find", "GET", "Appointment/$find", "", "C", find.handle, only_reads=True, transaction="ITI-115",
                definition=f"{_IHE}-find"),
    Interaction("$hold", "POST", "Appointment/$hold", "c", "C", hold.handle, "parameters", transaction="ITI-116",
                definition=f"{_IHE}-hold", refused=result.refused),
    Interaction("$book", "POST", "Appointment/$book", "c", "C", book.handle, "parameters", transaction="ITI-117",
                definition=f"{_IHE}-book", refused=result.refused),
    Interaction("$conflicts", "GET", "Appointment/{id}/$conflicts", "r", "R", conflicts.handle),
    Interaction("$generate-slots", "POST", "Schedule/$generate-slots", "u", "C", availability.generate_slots,
                "parameters"),
    Interaction("$close", "POST", "Schedule/$close", "u", "U", availability.close, "parameters"),
    Interaction("$reopen", "POST", "Schedule/$reopen", "u", "U", availability.reopen, "parameters"),
    Interaction("$match", "POST", "Patient/$match", "s", "E", people.match, "parameters",
                definition="http://hl7.org/fhir/OperationDefinition/Patient-match"),
    Interaction("$break-glass", "POST", "Patient/{id}/$break-glass", "r", "C", break_glass.handle, "parameters"),
    Interaction("$verify", "POST", "Patient/{id}/$verify", "r", "U", people.verify),
    Interaction("$merge", "POST", "Patient/$merge", "r", "U", people.merge, "parameters"),
    Interaction("$unmerge", "POST", "Patient/{id}/$unmerge", "r", "U", people.unmerge),
)  # fmt: skip
