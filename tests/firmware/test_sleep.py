"""Where a core sleeps: what an STM32 executes behind a WFI at a bad address may be wrong (ES0182, 2.1.3)."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hal_build import HAL, STM32_BOARDS, build

NAP = """
#include "hal/hal.hpp"
namespace image {
__attribute__((section(".descriptor"), used)) extern const char kMagic[8] = {'F', 'T', 'T', 'E', 'I', 'M', 'G', '1'};
}
extern "C" void firmware_main() {
  hal::init();
  for (;;) hal::idle();
}
"""
LINE = re.compile(r"^ *([0-9a-f]+):\t[0-9a-f ]+\t(\S+)")


@pytest.mark.parametrize("env", [*STM32_BOARDS, "nucleo_f412zg", "nucleo_f429zi", "microbit", "nrf52840_dk"])
def test_a_sleep_has_a_good_address_and_a_barrier_behind_it(env: str, tmp_path: Path) -> None:
    main = tmp_path / "main.cpp"
    main.write_text(NAP)
    elf = build(env, main, tmp_path)
    listed = subprocess.run(["arm-none-eabi-objdump", "-d", str(elf)], capture_output=True, text=True, check=True)
    code = [(int(found[1], 16), found[2]) for line in listed.stdout.splitlines() if (found := LINE.match(line))]
    sleeps = [at for at, (_, name) in enumerate(code) if name == "wfi"]
    assert sleeps
    for at in sleeps:
        assert code[at][0] % 16 == 0
        assert [name.partition(".")[0] for _, name in code[at + 1 : at + 5]] == ["isb", "nop", "nop", "nop"]


def test_there_is_one_way_to_sleep() -> None:
    found = [path.name for path in sorted(HAL.rglob("*.[ch]pp")) if re.search(r"\bwf[ie]\b", path.read_text())]
    assert found == ["core.hpp"]
