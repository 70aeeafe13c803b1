"""The flash controllers' rules: what programs, what erases, and which error flag each mistake sets."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import InfrastructureError
from bench.virtual import flash_nvmc as nvmc
from bench.virtual import flash_stm32f4 as f4
from bench.virtual import flash_stm32l4 as l4
from bench.virtual.flash_controller import BusError
from bench.virtual.nonvolatile import NonVolatile
from bench.virtual.parts import NRF51822, STM32F205, STM32F405, STM32L475, Region

KEYS = (0x45670123, 0xCDEF89AB)
WORD = b"\x12\x34\x56\x78"
PSIZE_WORD = 2 << 8


@pytest.fixture
def flash(tmp_path: Path) -> NonVolatile:
    return NonVolatile(tmp_path / "flash.bin", STM32F405.flash)


@pytest.fixture
def f4_flash(flash: NonVolatile) -> f4.Stm32F4Flash:
    return f4.Stm32F4Flash(flash)


@pytest.fixture
def l4_flash(flash: NonVolatile) -> l4.Stm32L4Flash:
    assert STM32L475.flash == STM32F405.flash
    return l4.Stm32L4Flash(flash)


def unlock(controller: f4.Stm32F4Flash | l4.Stm32L4Flash) -> None:
    for key in KEYS:
        controller.write(l4.KEYR if isinstance(controller, l4.Stm32L4Flash) else f4.KEYR, key)


class TestContents:
    @given(writes=st.lists(st.tuples(st.integers(0, 15), st.binary(min_size=4, max_size=4)), max_size=20))
    def test_programming_only_clears_bits(
        self, tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[int, bytes]]
    ) -> None:
        memory = NonVolatile(tmp_path_factory.mktemp("flash") / "f.bin", Region(0, 64))
        expected = [0xFFFFFFFF] * 16
        for index, data in writes:
            memory.program(4 * index, data)
            expected[index] &= int.from_bytes(data, "little")
        assert memory.read(0, 64) == b"".join(word.to_bytes(4, "little") for word in expected)
        memory.close()

    def test_contents_are_kept(self, tmp_path: Path) -> None:
        memory = NonVolatile(tmp_path / "f.bin", Region(0, 64))
        memory.program(8, WORD)
        assert (tmp_path / "f.bin").read_bytes()[8:12] == WORD, "at once, not at the end"
        memory.close()
        assert NonVolatile(tmp_path / "f.bin", Region(0, 64)).read(8, 4) == WORD

    def test_another_size_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "f.bin").write_bytes(b"123")
        with pytest.raises(InfrastructureError, match="3 bytes, but the board's flash has 64"):
            NonVolatile(tmp_path / "f.bin", Region(0, 64))


class TestStm32F4:
    def test_sectors_fill_the_flash(self) -> None:
        assert sum(f4.SECTORS) == STM32F405.flash.size
        assert f4.sector(4) == (0x10000, 0x10000)
        assert f4.sector(5) == (0x20000, 0x20000)

    @pytest.mark.parametrize(("number", "error"), [(9, 0), (10, f4.PGSERR), (11, f4.PGSERR)])
    def test_a_smaller_part_has_fewer_sectors(self, number: int, error: int, tmp_path: Path) -> None:
        """An STM32F205RF: 768 KB, sectors 0 to 9 (stm32-data, STM32F205RF)."""
        controller = f4.Stm32F4Flash(NonVolatile(tmp_path / "f205.bin", STM32F205.flash))
        assert STM32F205.flash.size == 768 << 10
        unlock(controller)
        controller.write(f4.CR, f4.SER | number << 3 | f4.STRT)
        assert controller.read(f4.SR) & ~f4.BSY == error

    def test_word(self, f4_flash: f4.Stm32F4Flash) -> None:
        unlock(f4_flash)
        f4_flash.write(f4.CR, f4.PG | PSIZE_WORD)
        f4_flash.store(f4_flash.flash, 0x100, WORD)
        assert f4_flash.flash.read(0x100, 4) == WORD
        assert f4_flash.read(f4.SR) == 0

    def test_locked(self, f4_flash: f4.Stm32F4Flash) -> None:
        f4_flash.write(f4.CR, f4.PG | PSIZE_WORD)
        assert f4_flash.read(f4.CR) == f4.LOCK, "the register takes nothing while locked"
        f4_flash.store(f4_flash.flash, 0, WORD)
        assert f4_flash.read(f4.SR) == f4.PGSERR
        assert f4_flash.flash.is_blank(0, 4)

    def test_unlocked_without_pg(self, f4_flash: f4.Stm32F4Flash) -> None:
        unlock(f4_flash)
        f4_flash.store(f4_flash.flash, 0, WORD)
        assert f4_flash.read(f4.SR) == f4.PGSERR
        f4_flash.write(f4.SR, f4.PGSERR)
        assert f4_flash.read(f4.SR) == 0, "a one clears the flag"

    @pytest.mark.parametrize("size", [1, 2, 8])
    def test_width_that_is_not_psize(self, f4_flash: f4.Stm32F4Flash, size: int) -> None:
        unlock(f4_flash)
        f4_flash.write(f4.CR, f4.PG | PSIZE_WORD)
        f4_flash.store(f4_flash.flash, 0, bytes(size))
        assert f4_flash.read(f4.SR) == f4.PGPERR
        assert f4_flash.flash.is_blank(0, 8)

    def test_across_rows(self, f4_flash: f4.Stm32F4Flash) -> None:
        unlock(f4_flash)
        f4_flash.write(f4.CR, f4.PG | PSIZE_WORD)
        f4_flash.store(f4_flash.flash, 14, WORD)
        assert f4_flash.read(f4.SR) == f4.PGAERR
        assert f4_flash.flash.is_blank(0, 32)

    def test_wrong_key_locks_until_reset(self, f4_flash: f4.Stm32F4Flash) -> None:
        f4_flash.write(f4.KEYR, KEYS[1])
        unlock(f4_flash)
        assert f4_flash.read(f4.CR) & f4.LOCK
        f4_flash.reset()
        unlock(f4_flash)
        assert not f4_flash.read(f4.CR) & f4.LOCK

    @pytest.mark.parametrize("number", range(12))
    def test_sector_erase(self, f4_flash: f4.Stm32F4Flash, number: int) -> None:
        f4_flash.flash.program(0, bytes(1 << 20))
        unlock(f4_flash)
        f4_flash.write(f4.CR, f4.SER | number << 3 | f4.STRT)
        assert f4_flash.read(f4.SR) & f4.BSY, "busy is seen"
        assert not f4_flash.read(f4.SR)
        start, size = f4.sector(number)
        assert f4_flash.flash.is_blank(start, size)
        assert f4_flash.flash.read(0, 1 << 20).count(0xFF) == size

    def test_mass_erase(self, f4_flash: f4.Stm32F4Flash) -> None:
        f4_flash.flash.program(0, bytes(1 << 20))
        unlock(f4_flash)
        f4_flash.write(f4.CR, f4.MER | f4.STRT)
        assert f4_flash.flash.is_blank(0, 1 << 20)

    @pytest.mark.parametrize("control", [f4.SER | f4.MER, f4.SER | 12 << 3, f4.SER | f4.PG])
    def test_impossible_erase(self, f4_flash: f4.Stm32F4Flash, control: int) -> None:
        f4_flash.flash.program(0, bytes(1 << 20))
        unlock(f4_flash)
        f4_flash.write(f4.CR, control | f4.STRT)
        assert f4_flash.read(f4.SR) & f4.PGSERR
        assert f4_flash.flash.read(0, 1 << 20).count(0xFF) == 0


class TestStm32L4:
    def program(self, controller: l4.Stm32L4Flash, offset: int, data: bytes) -> None:
        for at in range(0, len(data), 4):
            controller.store(controller.flash, offset + at, data[at : at + 4])

    def test_double_word(self, l4_flash: l4.Stm32L4Flash) -> None:
        unlock(l4_flash)
        l4_flash.write(l4.CR, l4.PG)
        l4_flash.store(l4_flash.flash, 8, WORD)
        assert l4_flash.flash.is_blank(8, 8), "nothing before the second word"
        l4_flash.store(l4_flash.flash, 12, WORD)
        assert l4_flash.flash.read(8, 8) == 2 * WORD
        assert l4_flash.read(l4.SR) == 0

    def test_locked_or_without_pg(self, l4_flash: l4.Stm32L4Flash) -> None:
        l4_flash.write(l4.CR, l4.PG)
        self.program(l4_flash, 0, 2 * WORD)
        assert l4_flash.read(l4.SR) == l4.PGSERR
        l4_flash.write(l4.SR, l4.PGSERR)
        unlock(l4_flash)
        self.program(l4_flash, 0, 2 * WORD)
        assert l4_flash.read(l4.SR) == l4.PGSERR
        assert l4_flash.flash.is_blank(0, 8)

    def test_not_erased(self, l4_flash: l4.Stm32L4Flash) -> None:
        unlock(l4_flash)
        l4_flash.write(l4.CR, l4.PG)
        self.program(l4_flash, 0, 2 * WORD)
        self.program(l4_flash, 0, bytes(4) + WORD)
        assert l4_flash.read(l4.SR) == l4.PROGERR
        assert l4_flash.flash.read(0, 8) == 2 * WORD
        self.program(l4_flash, 8, 2 * WORD)
        assert l4_flash.read(l4.SR) & l4.PGSERR, "an error that is not cleared stops all programming"
        assert l4_flash.flash.is_blank(8, 8)
        l4_flash.write(l4.SR, l4.ERRORS)
        self.program(l4_flash, 0, bytes(8))
        assert l4_flash.flash.read(0, 8) == bytes(8), "zeros may overwrite"
        assert l4_flash.read(l4.SR) == 0

    @pytest.mark.parametrize("offsets", [(4, 8), (0, 8), (0, 0)])
    def test_alignment(self, l4_flash: l4.Stm32L4Flash, offsets: tuple[int, int]) -> None:
        unlock(l4_flash)
        l4_flash.write(l4.CR, l4.PG)
        for offset in offsets:
            l4_flash.store(l4_flash.flash, offset, WORD)
        assert l4_flash.read(l4.SR) & l4.PGAERR
        assert l4_flash.flash.is_blank(0, 16)

    @pytest.mark.parametrize("size", [1, 2])
    def test_narrow_store(self, l4_flash: l4.Stm32L4Flash, size: int) -> None:
        unlock(l4_flash)
        l4_flash.write(l4.CR, l4.PG)
        l4_flash.store(l4_flash.flash, 0, bytes(size))
        assert l4_flash.read(l4.SR) == l4.SIZERR

    @pytest.mark.parametrize(("bank", "page"), [(0, 0), (0, 255), (1, 0), (1, 255)])
    def test_page_erase(self, l4_flash: l4.Stm32L4Flash, bank: int, page: int) -> None:
        l4_flash.flash.program(0, bytes(1 << 20))
        unlock(l4_flash)
        l4_flash.write(l4.CR, l4.PER | page << 3 | (l4.BKER if bank else 0) | l4.STRT)
        assert l4_flash.flash.is_blank((bank * 256 + page) * 2048, 2048)
        assert l4_flash.flash.read(0, 1 << 20).count(0xFF) == 2048

    def test_bank_erase(self, l4_flash: l4.Stm32L4Flash) -> None:
        l4_flash.flash.program(0, bytes(1 << 20))
        unlock(l4_flash)
        l4_flash.write(l4.CR, l4.MER2 | l4.STRT)
        assert l4_flash.flash.is_blank(1 << 19, 1 << 19)
        assert l4_flash.flash.read(0, 1 << 19).count(0xFF) == 0

    def test_erase_with_pg_or_pending_error(self, l4_flash: l4.Stm32L4Flash) -> None:
        l4_flash.flash.program(0, bytes(1 << 20))
        unlock(l4_flash)
        l4_flash.write(l4.CR, l4.PER | l4.PG | l4.STRT)
        assert l4_flash.read(l4.SR) == l4.PGSERR
        l4_flash.write(l4.CR, l4.PER | l4.STRT)
        assert l4_flash.flash.read(0, 1 << 20).count(0xFF) == 0


class TestNrf51:
    @pytest.fixture
    def nrf(self, tmp_path: Path) -> nvmc.Nvmc:
        assert NRF51822.user is not None
        return nvmc.Nvmc(
            NonVolatile(tmp_path / "f.bin", NRF51822.flash), NonVolatile(tmp_path / "u.bin", NRF51822.user)
        )

    def test_needs_write_enable(self, nrf: nvmc.Nvmc) -> None:
        with pytest.raises(BusError, match=r"CONFIG\.WEN"):
            nrf.store(nrf.flash, 0, WORD)
        nrf.write(nvmc.CONFIG, nvmc.WRITE_ENABLE)
        nrf.store(nrf.flash, 0, WORD)
        nrf.store(nrf.uicr, 0x80, WORD)
        assert nrf.flash.read(0, 4) == nrf.uicr.read(0x80, 4) == WORD
        assert nrf.read(nvmc.READY) == 1

    @pytest.mark.parametrize(("offset", "data"), [(0, b"\0"), (0, b"\0\0"), (2, WORD)])
    def test_words_only(self, nrf: nvmc.Nvmc, offset: int, data: bytes) -> None:
        nrf.write(nvmc.CONFIG, nvmc.WRITE_ENABLE)
        with pytest.raises(BusError, match="aligned words only"):
            nrf.store(nrf.flash, offset, data)

    def test_page_erase_needs_erase_enable(self, nrf: nvmc.Nvmc) -> None:
        nrf.flash.program(0, bytes(4096))
        nrf.write(nvmc.ERASEPCR1, 1024)
        assert nrf.flash.read(0, 4096).count(0xFF) == 0
        nrf.write(nvmc.CONFIG, nvmc.ERASE_ENABLE)
        nrf.write(nvmc.ERASEPCR1, 1024)
        assert nrf.flash.is_blank(1024, 1024)
        assert nrf.flash.read(0, 4096).count(0xFF) == 1024

    def test_erase_all_and_uicr(self, nrf: nvmc.Nvmc) -> None:
        nrf.flash.program(0, WORD)
        nrf.uicr.program(0, WORD)
        nrf.write(nvmc.CONFIG, nvmc.ERASE_ENABLE)
        nrf.write(nvmc.ERASEUICR, 1)
        assert nrf.uicr.is_blank(0, 4)
        assert nrf.flash.read(0, 4) == WORD
        nrf.uicr.program(0, WORD)
        nrf.write(nvmc.ERASEALL, 1)
        assert nrf.flash.is_blank(0, 256 << 10)
        assert nrf.uicr.is_blank(0, 4)
