"""Constants of analog in-memory accelerators: value, unit, plausible range and source, once.

Values marked *assumed* have no public source: the published study's own table is not available.
Their ranges feed the sensitivity analysis (`evaluators/analog/sensitivity.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from evaluators.analog.adc import ADC_LAWS, AdcLaw, MixedLaw, PumaAdc, RampAdc, SurveyFit
from spaces.validation import check_keys


@dataclass(frozen=True)
class Quantity:
    """A constant.

    Attributes:
        value: In `unit`.
        unit: Spelled as in metric names.
        low, high: Plausible range.
        source: Where it comes from; starts with "assumed" when nowhere.
    """

    value: float
    unit: str
    low: float
    high: float
    source: str


@dataclass(frozen=True)
class AnalogConstants:
    """Energy, time and area of everything but the ADCs.

    Attributes:
        settle_ns: One analog step before conversion, per input slice.
        dac_pj: One row activation, per input slice.
        cell_read_pj: One programmed cell in one step, per slice and plane.
        cell_write_pj: Programming one cell.
        shift_add_pj: Combining one conversion with its slice's sum.
        add_pj: Adding one partial sum.
        buffer_pj: Reading or writing one value.
        move_pj: Moving one value from an array to its consumer.
        move_ns: Transport after every stage.
        sum_ns: One level of the adder tree.
        permute_ns: One explicit middle permutation.
        add_ns, layernorm_ns, activation_ns: One vector operation.
        digital_add_pj, layernorm_pj, activation_pj: Per value.
        attention_mac_pj: Multiply-accumulate of scores and context, memory included.
        attention_macs_per_ns: Rate of all attention units.
        cell_um2: One cell.
        dac_um2: One row driver.
        periphery_um2: Decoders, registers, routing of one array.
        shift_add_um2: One shift-and-add unit, per ADC.
    """

    settle_ns: float
    dac_pj: float
    cell_read_pj: float
    cell_write_pj: float
    shift_add_pj: float
    add_pj: float
    buffer_pj: float
    move_pj: float
    move_ns: float
    sum_ns: float
    permute_ns: float
    add_ns: float
    layernorm_ns: float
    activation_ns: float
    digital_add_pj: float
    layernorm_pj: float
    activation_pj: float
    attention_mac_pj: float
    attention_macs_per_ns: float
    cell_um2: float
    dac_um2: float
    periphery_um2: float
    shift_add_um2: float

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value >= 0:
                raise ValueError(f"technology: {field.name} must be >= 0, got {value}")

    def with_values(self, values: Mapping[str, float]) -> AnalogConstants:
        """The constants with some of them replaced; `ValueError` for an unknown name."""
        check_keys("technology", values, [field.name for field in fields(self)])
        return replace(self, **{name: float(value) for name, value in values.items()})


@dataclass(frozen=True)
class AnalogPrecision:
    """Bits of values and of the devices that hold them.

    Attributes:
        input_bits, dac_bits: Of an input and of one input slice.
        weight_bits, cell_bits: Of a weight and of one cell (one plane).
    """

    input_bits: int = 8
    dac_bits: int = 8
    weight_bits: int = 8
    cell_bits: int = 8

    def __post_init__(self) -> None:
        for whole, part in (("input_bits", "dac_bits"), ("weight_bits", "cell_bits")):
            if not 1 <= getattr(self, part) <= getattr(self, whole):
                raise ValueError(
                    f"precision: {part} must be in 1..{getattr(self, whole)} ({whole}), "
                    f"got {getattr(self, part)}"
                )

    @property
    def slices(self) -> int:
        """Input slices."""
        return -(-self.input_bits // self.dac_bits)

    @property
    def planes(self) -> int:
        """Weight planes, each an array of its own."""
        return -(-self.weight_bits // self.cell_bits)


_IBM = "IBM/3D-CiM-LLM-Inference-Simulator defaults (placeholders of that tool)"
_HERMES = "HERMES core, doi 10.1109/JSSC.2022.3140414: 12.5 nJ, 0.634 mm2 per 256 x 256 core"
_PUMA = "PUMA simulator, include/constants.py, 32 nm"
_HOROWITZ = "45 nm energies after M. Horowitz, ISSCC 2014"

_DIGITAL: dict[str, Quantity] = {
    "add_pj": Quantity(0.1, "pJ", 0.03, 0.2, f"int32 add, {_HOROWITZ}"),
    "move_pj": Quantity(0.08, "pJ/value", 0.02, 1.0, f"10 fJ/bit, {_IBM}"),
    "move_ns": Quantity(10.0, "ns", 1.0, 20.0, _IBM),
    "sum_ns": Quantity(10.0, "ns", 1.0, 20.0, f"vector add, {_IBM}"),
    "permute_ns": Quantity(10.0, "ns", 1.0, 50.0, "assumed: as one transport"),
    "add_ns": Quantity(10.0, "ns", 1.0, 20.0, _IBM),
    "layernorm_ns": Quantity(50.0, "ns", 10.0, 100.0, _IBM),
    "activation_ns": Quantity(10.0, "ns", 1.0, 20.0, f"GELU, {_IBM}"),
    "digital_add_pj": Quantity(0.9, "pJ/value", 0.1, 2.0, f"fp32 add, {_HOROWITZ}"),
    "layernorm_pj": Quantity(9.0, "pJ/value", 1.0, 20.0, f"10 operations, {_HOROWITZ}"),
    "activation_pj": Quantity(5.4, "pJ/value", 0.5, 12.0, f"6 operations, {_HOROWITZ}"),
    "attention_mac_pj": Quantity(0.4, "pJ/MAC", 0.2, 4.6, "assumed: int8 MAC and its operands"),
    "attention_macs_per_ns": Quantity(
        16384.0, "MAC/ns", 2048.0, 131072.0, "assumed: 16 units of 1024 MACs at 1 GHz"
    ),
}

PCM: dict[str, Quantity] = _DIGITAL | {
    "settle_ns": Quantity(2.0, "ns", 0.3, 128.0, "assumed; 128 ns is HERMES' 8-bit PWM phase"),
    "dac_pj": Quantity(9.8, "pJ/row", 1.0, 20.0, f"assumed 20 % of {_HERMES}"),
    "cell_read_pj": Quantity(0.0763, "pJ/cell", 0.01, 0.15, f"assumed 40 % of {_HERMES}"),
    "cell_write_pj": Quantity(100.0, "pJ/cell", 10.0, 1000.0, "assumed: PCM programming pulses"),
    "shift_add_pj": Quantity(0.05, "pJ", 0.01, 0.1, _PUMA),
    "buffer_pj": Quantity(1.25, "pJ/value", 0.3, 2.5, f"8 kB cache, {_HOROWITZ}"),
    "cell_um2": Quantity(3.9, "um2", 1.0, 6.0, f"assumed 40 % of {_HERMES}"),
    "dac_um2": Quantity(248.0, "um2", 50.0, 500.0, f"assumed 10 % of {_HERMES}"),
    "periphery_um2": Quantity(126800.0, "um2", 3e4, 2.5e5, f"assumed 20 % of {_HERMES}"),
    "shift_add_um2": Quantity(60.0, "um2", 10.0, 200.0, _PUMA),
}
"""Phase-change memory after IBM's HERMES core, 14 nm."""

RERAM: dict[str, Quantity] = _DIGITAL | {
    "settle_ns": Quantity(100.0, "ns", 3.16, 100.0, f"MVM, {_PUMA}; low end MNSIM 2.0 read"),
    "dac_pj": Quantity(0.39, "pJ/row", 0.1, 1.0, f"3.9 uW for 100 ns, {_PUMA}"),
    "cell_read_pj": Quantity(0.00183, "pJ/cell", 0.0005, 0.01, f"0.3 mW per 128^2, {_PUMA}"),
    "cell_write_pj": Quantity(10.0, "pJ/cell", 1.0, 100.0, "assumed: ReRAM SET/RESET pulses"),
    "shift_add_pj": Quantity(0.05, "pJ", 0.01, 0.1, _PUMA),
    "buffer_pj": Quantity(0.54, "pJ/value", 0.3, 2.5, f"eDRAM 17.2 pJ per 256 bit, {_PUMA}"),
    "cell_um2": Quantity(0.0015, "um2", 0.001, 0.1, f"2.5e-5 mm2 per 128^2, {_PUMA}"),
    "dac_um2": Quantity(0.167, "um2", 0.1, 50.0, _PUMA),
    "periphery_um2": Quantity(1000.0, "um2", 100.0, 1e4, "assumed: registers and routing"),
    "shift_add_um2": Quantity(60.0, "um2", 10.0, 200.0, _PUMA),
}
"""ReRAM after ISAAC and PUMA, 32 nm."""


@dataclass(frozen=True)
class AnalogTechnology:
    """Everything that prices counts.

    Attributes:
        name: Preset name.
        constants: See `AnalogConstants`.
        adc: Law of the converters.
        precision: Bits and slices.
        quantities: Constant name -> value, range and source, for reports.
    """

    name: str
    constants: AnalogConstants
    adc: AdcLaw
    precision: AnalogPrecision
    quantities: Mapping[str, Quantity]


def constants_of(quantities: Mapping[str, Quantity]) -> AnalogConstants:
    """The values of a full set of quantities."""
    return AnalogConstants(**{name: quantity.value for name, quantity in quantities.items()})


PRESETS: dict[str, AnalogTechnology] = {
    "pcm": AnalogTechnology(
        "pcm",
        constants_of(PCM),
        MixedLaw(SurveyFit(node_nm=14.0), RampAdc()),
        AnalogPrecision(),
        PCM,
    ),
    "reram": AnalogTechnology(
        "reram",
        constants_of(RERAM),
        PumaAdc(),
        AnalogPrecision(dac_bits=1, cell_bits=2),
        RERAM,
    ),
}
"""`pcm`: IBM-like, one cell per weight, one slice per input, survey energies with ramp times.
`reram`: ISAAC-like, 2-bit cells, 1-bit inputs."""


def technology(
    preset: str = "pcm",
    adc: str | None = None,
    constants: Mapping[str, float] | None = None,
    precision: Mapping[str, int] | None = None,
) -> AnalogTechnology:
    """A preset with changes.

    Args:
        preset: Of `PRESETS`.
        adc: Name of an ADC law; None = the preset's.
        constants: Constants to replace, by name.
        precision: Bits to replace, by name.

    Raises:
        ValueError: For an unknown preset, law or name, or a negative constant.
    """
    check_keys("technology.preset", [preset], PRESETS)
    chosen = PRESETS[preset]
    if adc is not None:
        check_keys("technology.adc", [adc], ADC_LAWS)
        chosen = replace(chosen, adc=ADC_LAWS[adc])
    if constants:
        chosen = replace(chosen, constants=chosen.constants.with_values(constants))
    if precision:
        names = [field.name for field in fields(AnalogPrecision)]
        check_keys("technology.precision", precision, names)
        chosen = replace(chosen, precision=replace(chosen.precision, **dict(precision)))
    return chosen
