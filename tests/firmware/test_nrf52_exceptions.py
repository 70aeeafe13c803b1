"""Exceptions of the core that Unicorn executes, against the architecture's manual: what a handler finds, what it leaves
to the code that it interrupted, what comes first, and what comes when nothing else can.

Each test is a few instructions that leave words at `out` and say 1 at `done`; interrupt 5 is made pending by software.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nrf52_board import Board

OUT, DONE = 0x20001000, 0x20000FFC
STACK = 0x20008000
USAGE_FAULT_ENABLE = 1 << 18

PROLOGUE = """
.syntax unified
.thumb
.cpu cortex-m4
.fpu fpv4-sp-d16
.word 0x20008000, start + 1, 0, hard + 1, 0, bus + 1, usage + 1, 0, 0, 0, 0, svcall + 1, 0, 0, 0, 0
.rept 5
.word 0
.endr
.word irq5 + 1, irq6 + 1
.rept 41
.word 0
.endr
.weak hard, bus, usage, svcall, irq5, irq6
.thumb_func
start:
  ldr r11, =0x20001000
  ldr r10, =0xE000E100
"""
EPILOGUE = """
finish:
  ldr r0, =0x20000FFC
  movs r1, #1
  str r1, [r0]
1: wfi
  b 1b
.ltorg
"""
PEND_5 = "mov r0, #32\n str r0, [r10, #0x100]\n dsb\n isb\n"  # ISPR0; taken at a barrier, or a branch, at the latest
ENABLE_5_AND_6 = "movs r0, #0x60\n str r0, [r10]\n"  # ISER0

Run = Callable[[str, int], tuple[int, ...]]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Assembles, runs to the end, and returns words of `out`."""
    boards = []

    def result(code: str, words: int) -> tuple[int, ...]:
        source, target, image = (tmp_path / f"code.{suffix}" for suffix in ("s", "o", "bin"))
        source.write_text(PROLOGUE + code + EPILOGUE)
        subprocess.run(["arm-none-eabi-as", str(source), "-o", str(target)], check=True)
        linked = tmp_path / "code.elf"
        link = ["arm-none-eabi-ld", "-Ttext=0", "-e", "0", "--no-warn-mismatch", str(target), "-o", str(linked)]
        subprocess.run(link, check=True)
        subprocess.run(["arm-none-eabi-objcopy", "-O", "binary", str(linked), str(image)], check=True)
        board = Board(image.read_bytes(), tmp_path / "board")
        boards.append(board)
        board.run("it is done", lambda: board.target.cpu.load(DONE, 1) == (1,) or board.locked_up)
        return board.target.cpu.load(OUT, words) or ()

    yield result
    for board in boards:
        board.close()


def test_handler_finds_its_number_and_leaves_all_registers_alone(run: Run) -> None:
    code = f"""
      {ENABLE_5_AND_6}
      movs r1, #11
      movs r2, #12
      movs r3, #13
      movs r4, #14
      mov r12, r3
      mov lr, r2
      mov r9, sp
      cmp r1, r1
      {PEND_5}
      mrs r5, apsr
      mov r6, lr
      stmia r11!, {{r0-r6, r12}}
      mov r1, sp
      sub r9, r9, r1
      str r9, [r11]
      b finish
    irq5:
      mrs r0, ipsr
      str r0, [r11, #36]
      str lr, [r11, #40]
      mov r2, sp
      str r2, [r11, #44]
      movs r1, #0
      movs r2, #0
      movs r3, #0
      mov r12, r1
      cmp r1, #5
      bx lr
    """
    *registers, ipsr, link, stack = run(code, 12)
    r0, r1, r2, r3, r4, flags, lr, r12, moved = registers
    assert (r0, r1, r2, r3, r4, lr, r12) == (32, 11, 12, 13, 14, 12, 13)
    assert flags >> 28 == 0b0110, "Z and C, as the comparison left them"
    assert moved == 0, "the stack pointer is where it was"
    assert (ipsr, link) == (16 + 5, 0xFFFFFFF9)
    assert stack == STACK - 32


def test_frame_lies_at_a_multiple_of_eight(run: Run) -> None:
    code = f"{ENABLE_5_AND_6}sub sp, #4\n {PEND_5}nop\n mov r1, sp\n str r1, [r11]\n b finish\n"
    code += "irq5: mov r0, sp\n str r0, [r11, #4]\n bx lr\n"
    after, inside = run(code, 2)
    assert after == STACK - 4
    assert inside == STACK - 40
    assert inside % 8 == 0


def test_floating_point_registers_survive_a_handler_that_uses_them(run: Run) -> None:
    code = f"""
      ldr r0, =0xE000ED88
      ldr r1, [r0]
      orr r1, r1, #0xF00000
      str r1, [r0]
      dsb
      isb
      {ENABLE_5_AND_6}
      vmov.f32 s0, #1.0
      vmov.f32 s1, #2.0
      vmov.f32 s15, #3.0
      vmov.f32 s16, #4.0
      vcmp.f32 s0, s0
      {PEND_5}
      vmrs r1, fpscr
      vstmia r11!, {{s0-s1}}
      vstmia r11!, {{s15-s16}}
      str r1, [r11]
      b finish
    irq5:
      str lr, [r11, #20]
      mov r0, sp
      str r0, [r11, #24]
      vmov.f32 s0, #9.0
      vmov.f32 s1, s0
      vmov.f32 s15, s0
      vadd.f32 s0, s0, s1
      vcmp.f32 s0, #0.0
      bx lr
    """
    s0, s1, s15, s16, status, link, stack = run(code, 7)
    assert (s0, s1, s15, s16) == (0x3F800000, 0x40000000, 0x40400000, 0x40800000)
    assert status >> 28 == 0b0110, "equal"
    assert link == 0xFFFFFFE9, "a frame with floating-point registers"
    assert stack == STACK - 104


def test_masked_interrupt_waits_and_ends_a_sleep(run: Run) -> None:
    code = f"""
      {ENABLE_5_AND_6}
      cpsid i
      {PEND_5}
      movs r1, #1
      wfi
      ldr r2, [r11]
      str r2, [r11, #4]
      cpsie i
      isb
      ldr r2, [r11]
      str r2, [r11, #8]
      b finish
    irq5: movs r0, #7
      str r0, [r11]
      bx lr
    """
    assert run(code, 3) == (7, 0, 7)


def test_more_urgent_interrupt_preempts_and_an_equal_one_waits(run: Run) -> None:
    """Priorities of 5 and 6: a smaller number is more urgent. Out: the order in which handlers begin and end."""
    code = """
      ldr r1, =0xE000E404
      ldr r2, ={priorities}
      str r2, [r1]
      movs r0, #0x60
      str r0, [r10]
      mov r0, #32
      str r0, [r10, #0x100]
      isb
      b finish
    irq5: movs r0, #1
      str r0, [r11], #4
      movs r0, #0x40
      str r0, [r10, #0x100]
      isb
      movs r0, #2
      str r0, [r11], #4
      bx lr
    irq6: movs r0, #3
      str r0, [r11], #4
      bx lr
    """
    assert run(code.format(priorities="0x00204000"), 3) == (1, 3, 2)
    assert run(code.format(priorities="0x00404000"), 3) == (1, 2, 3)
    assert run(code.format(priorities="0x00602000"), 3) == (1, 2, 3)


@pytest.mark.parametrize(("enabled", "exception"), [(True, 6), (False, 3)])
def test_undefined_instruction_is_a_usage_fault_or_escalates(run: Run, enabled: bool, exception: int) -> None:
    code = f"""
      ldr r1, =0xE000ED24
      ldr r2, ={USAGE_FAULT_ENABLE if enabled else 0}
      str r2, [r1]
      nop
    here: udf #0
    hard:
    usage:
      mrs r0, ipsr
      ldr r1, =0xE000ED28
      ldr r2, [r1]
      ldr r3, [r1, #4]
      ldr r4, [sp, #24]
      ldr r5, =here
      stmia r11, {{r0, r2-r5}}
      b finish
    """
    number, cfsr, hfsr, stacked, here = run(code, 5)
    assert number == exception
    assert cfsr == 1 << 16
    assert hfsr == (0 if enabled else 1 << 30)
    assert stacked == here & ~1, "the frame names the instruction itself"


@pytest.mark.parametrize("access", ["ldr r0, [r6]", "str r0, [r6]", "ldrb r0, [r6]", "ldm r6, {r0, r1}"])
def test_access_to_nothing_is_a_precise_bus_fault(run: Run, access: str) -> None:
    code = f"""
      ldr r1, =0xE000ED24
      ldr r2, =0x20000
      str r2, [r1]
      ldr r6, =0x30000000
    here: {access}
    bus:
      mrs r0, ipsr
      ldr r1, =0xE000ED28
      ldr r2, [r1]
      ldr r3, [r1, #16]
      ldr r4, [sp, #24]
      ldr r5, =here
      stmia r11, {{r0, r2-r5}}
      b finish
    """
    number, cfsr, address, stacked, here = run(code, 5)
    assert (number, cfsr, address) == (5, 0x8200, 0x30000000)
    assert stacked == here & ~1


def test_fault_in_a_handler_of_equal_priority_escalates(run: Run) -> None:
    code = f"""
      ldr r1, =0xE000ED24
      ldr r2, =0x70000
      str r2, [r1]
      {ENABLE_5_AND_6}{PEND_5}
      nop
    irq5: udf #0
    hard: mrs r0, ipsr
      str r0, [r11]
      b finish
    """
    assert run(code, 1) == (3,)


def test_nothing_is_counted_without_trace(run: Run) -> None:
    """As a debugger leaves it that writes 0 to DEMCR."""
    while_time_passes = """
  ldr r3, [r1, #4]
  mov r5, #100
1: subs r5, r5, #1
  bne 1b
  ldr r4, [r1, #4]
"""
    code = f"""
  ldr r0, =0xE000EDFC
  ldr r1, =0xE0001000
  movs r2, #1
  str r2, [r1]
  {while_time_passes}
  subs r4, r4, r3
  str r4, [r11]
  mov r2, #0x01000000
  str r2, [r0]
  {while_time_passes}
  cmp r4, r3
  ite hi
  movhi r4, #1
  movls r4, #0
  str r4, [r11, #4]
  b finish
"""
    assert run(code, 2) == (0, 1)


def test_supervisor_call(run: Run) -> None:
    code = "svc #1\n movs r1, #2\n str r1, [r11, #4]\n b finish\nsvcall: mrs r0, ipsr\n str r0, [r11]\n bx lr\n"
    assert run(code, 2) == (11, 2)


def test_fault_in_the_hard_fault_handler_locks_the_core_up(run: Run) -> None:
    code = "udf #0\nhard: movs r0, #1\n str r0, [r11]\n udf #0\n movs r0, #2\n str r0, [r11]\n b finish\n"
    assert run(code, 1) == (1,)
