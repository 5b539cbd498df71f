"""Free slots for working days to come, in the clinic's own time: the hours stay the same when the clocks change."""

from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Any

from seed.practice import SERVICES, Practitioner, concept, schedule_id

_WEEKEND = (5, 6)


def slots(practitioners: Iterable[Practitioner], first: date, days: int, zone: tzinfo) -> Iterator[dict[str, Any]]:
    """The slots of `days` days from `first` on, weekends left out; one practitioner's never overlap."""
    services = {service.id: service for service in SERVICES}
    for one in practitioners:
        for n in range(days):
            day = first + timedelta(days=n)
            if day.weekday() in _WEEKEND:
                continue
            for service_id, (begin, end) in one.hours.items():
                service = services[service_id]
                for start in _starts(begin, end, service.minutes):
                    yield {
                        "resourceType": "Slot",
                        "id": f"{one.id}-{day:%Y%m%d}-{start:%H%M}",
                        "serviceType": [concept(service)],
                        "schedule": {"reference": f"Schedule/{schedule_id(one, service)}"},
                        "status": "free",
                        "start": _instant(day, start, 0, zone),
                        "end": _instant(day, start, service.minutes, zone),
                    }


def _starts(begin: time, end: time, minutes: int) -> Iterator[time]:
    for minute in range(begin.hour * 60 + begin.minute, end.hour * 60 + end.minute - minutes + 1, minutes):
        yield time(minute // 60, minute % 60)


def _instant(day: date, start: time, minutes: int, zone: tzinfo) -> str:
    moment = datetime.combine(day, start, zone) + timedelta(minutes=minutes)
    return moment.isoformat()
