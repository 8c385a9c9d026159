"""The one temperature and the one power of a card that stand for the rest."""

from npu_core.arch import ArchSpec
from npu_core.sensors import Quantity, Reading, Readings


def headline_temperature(spec: ArchSpec, readings: Readings) -> int | None:
    """Thousandths of a degree Celsius, or None if it could not be read."""
    return _headline(readings, Quantity.TEMPERATURE, spec.temperature_labels)


def headline_power(spec: ArchSpec, readings: Readings) -> int | None:
    """Microwatts of the whole card, or None if it could not be read."""
    return _headline(readings, Quantity.POWER, (spec.power_label,))


def _headline(readings: Readings, quantity: Quantity, labels: tuple[str, ...]) -> int | None:
    if reading := readings.find(quantity, labels):
        return reading.value
    # A driver with labels of its own: its first sensor stands for the card. But while a sensor fails, the one that is
    # looked for may be that one, and another sensor's value in its place would be wrong.
    return None if readings.unreadable else _first(readings, quantity)


def _first(readings: Readings, quantity: Quantity) -> int | None:
    values: list[Reading] = [reading for reading in readings.values if reading.sensor.quantity is quantity]
    return values[0].value if values else None
