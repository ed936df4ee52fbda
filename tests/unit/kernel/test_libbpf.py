"""The bindings of libbpf, against this machine's kernel; loading programs takes root."""

from __future__ import annotations

import errno
import logging
import os
import select
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import FrameType

import pytest

from netmon.errors import BpfError, LibbpfError, NetmonError, VerifierError
from netmon.kernel import libbpf
from netmon.kernel.bpf import BpfObject, update_map
from netmon.kernel.ring_buffer import RingBuffer
from tests.support.records import records_of
from tests.support.socket_filter import compile_bpf, run

HERE = Path(__file__).parent
RING_SIZE = 1 << 20  # bytes
RECORD_SIZE = 72  # with its header
RING_RECORDS = RING_SIZE // RECORD_SIZE - 1  # a ring buffer is never quite full


def compile_c(source: Path, output: Path, *options: str) -> Path:
    """Compile with clang; return output."""
    subprocess.run(["clang", *options, str(source), "-o", str(output)], check=True)
    return output


@pytest.fixture(scope="module")
def object_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The compiled bindings.bpf.c."""
    return compile_bpf(HERE / "bindings.bpf.c", tmp_path_factory.mktemp("bpf") / "bindings.bpf.o")


@pytest.fixture
def opened(object_file: bytes) -> Iterator[BpfObject]:
    """An object that is not loaded yet."""
    with BpfObject(object_file, "bindings") as opened:
        opened.set_max_entries("records", RING_SIZE)
        yield opened


@pytest.fixture
def loaded(opened: BpfObject) -> BpfObject:
    """A loaded object."""
    opened.load()
    return opened


@pytest.fixture
def ring(loaded: BpfObject) -> Iterator[RingBuffer]:
    """The loaded object's ring buffer."""
    with closing(RingBuffer(loaded.map_fd("records"), RING_SIZE)) as ring:
        yield ring


@pytest.fixture
def other_library(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Let a test set NETMON_LIBBPF and load the library again."""
    libbpf.library.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    libbpf.library.cache_clear()


def take(ring: RingBuffer, limit: int = RING_SIZE) -> list[bytes]:
    """Return the waiting records, some limit bytes at most."""
    ring.fill(limit)
    return list(records_of(ring.batch))


def numbers(records: list[bytes]) -> list[int]:
    """Return the numbers that send_record wrote at the beginning of its records."""
    return [struct.unpack_from("=Q", record)[0] for record in records]


class TestLibrary:
    def test_has_a_version(self) -> None:
        assert tuple(map(int, libbpf.version().split("."))) >= libbpf.MINIMUM_VERSION

    @pytest.mark.parametrize("path", ["/nowhere/libbpf.so.1", "libc.so.6"])
    def test_a_missing_library_is_refused_with_a_remedy(self, other_library: pytest.MonkeyPatch, path: str) -> None:
        other_library.setenv("NETMON_LIBBPF", path)
        with pytest.raises(LibbpfError, match=r"cannot be loaded .*: correct NETMON_LIBBPF, which names this file"):
            libbpf.library()

    def test_an_old_library_is_refused(self, other_library: pytest.MonkeyPatch, tmp_path: Path) -> None:
        source = tmp_path / "old.c"
        source.write_text("int libbpf_major_version(void) { return 1; } int libbpf_minor_version(void) { return 0; }")
        library = compile_c(source, tmp_path / "libold.so", "-shared")
        other_library.setenv("NETMON_LIBBPF", str(library))
        with pytest.raises(LibbpfError, match=r"is libbpf 1\.0; netmon needs 1\.1 or newer"):
            libbpf.library()

    def test_commands_that_need_no_library_do_not_load_it(self) -> None:
        environment = {"NETMON_LIBBPF": "/nowhere", "PYTHONPATH": ":".join(sys.path)}
        command = [sys.executable, "-m", "netmon", "schema", "event"]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)

    def test_the_structs_have_the_layout_of_c(self, tmp_path: Path) -> None:
        source = tmp_path / "layout.c"
        lines = ["#include <stddef.h>", "#include <linux/bpf.h>", "#include <bpf/libbpf.h>"]
        for struct_type in (libbpf.bpf_prog_info, libbpf.bpf_object_open_opts):
            for name, *_ in struct_type._fields_:
                if name != "gpl_compatible":  # a bit-field, which has no offset
                    offset = getattr(struct_type, name).offset
                    lines.append(f'_Static_assert(offsetof(struct {struct_type.__name__}, {name}) == {offset}, "");')
        source.write_text("\n".join(lines))
        compile_c(source, tmp_path / "layout.o", "-c")

    def test_messages_are_logged_at_debug_level_and_not_printed(
        self, object_file: bytes, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with caplog.at_level(logging.DEBUG, "netmon.libbpf"):
            BpfObject(object_file, "bindings").close()
        assert "libbpf: map 'records': found max_entries = 4096." in caplog.messages
        assert capfd.readouterr() == ("", "")


class TestErrors:
    def test_an_invalid_object_file(self) -> None:
        with pytest.raises(BpfError) as caught:
            BpfObject(b"not an object file", "broken")
        error = caught.value
        assert isinstance(error, OSError)
        assert error.errno == 4001  # LIBBPF_ERRNO__FORMAT
        assert error.operation == "open broken"
        assert str(error).startswith("open broken: Not a valid BPF object (FORMAT): elf: ")

    def test_a_program_that_the_verifier_rejects(self, opened: BpfObject) -> None:
        opened.set_autoload("trust_the_map", True)
        with pytest.raises(VerifierError) as caught:
            opened.load()
        error = caught.value
        assert error.errno == errno.EACCES
        verdict = "trust_the_map: R0 invalid mem access 'map_value_or_null'"
        assert str(error) == f"load bindings: Permission denied (EACCES): {verdict}"
        assert "BEGIN PROG LOAD LOG" in error.log
        assert "processed " in error.log

    def test_names_that_are_not_in_the_object(self, loaded: BpfObject) -> None:
        with pytest.raises(BpfError, match=r"find map nothing: .* \(ENOENT\)"):
            loaded.map_fd("nothing")
        with pytest.raises(BpfError, match=r"find program nothing: .* \(ENOENT\)"):
            loaded.program_fd("nothing")

    def test_a_value_of_the_wrong_size(self, opened: BpfObject) -> None:
        with pytest.raises(BpfError, match=r"set \.rodata\.settings: .* \(EINVAL\)"):
            opened.set_initial_value(".rodata.settings", bytes(7))

    def test_a_program_that_attaches_to_nothing(self, loaded: BpfObject) -> None:
        with pytest.raises(BpfError, match="attach send_record"):
            loaded.attach("send_record")

    def test_each_thread_has_its_own_log(self) -> None:
        logs: dict[str, list[str]] = {"one": [], "two": []}

        def fail(name: str) -> None:
            for _ in range(200):
                try:
                    BpfObject(b"not an object file", name)
                except BpfError as error:
                    logs[name].append(error.log)

        threads = [threading.Thread(target=fail, args=(name,)) for name in logs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for name, others in (("one", "two"), ("two", "one")):
            assert len(logs[name]) == 200
            assert all(name in log and others not in log for log in logs[name])


class TestObject:
    def test_its_data_has_the_initial_values(self, opened: BpfObject) -> None:
        opened.set_initial_value(".rodata.settings", struct.pack("=Q", 1000))
        opened.load()
        with closing(RingBuffer(opened.map_fd("records"), RING_SIZE)) as ring:
            run(opened.program_fd("send_record"), 3)
            assert numbers(take(ring)) == [1000, 1001, 1002]

    def test_its_data_is_shared_with_the_kernel(self, loaded: BpfObject, ring: RingBuffer) -> None:
        state = loaded.data(".data.state")
        run(loaded.program_fd("send_record"), 5)
        assert struct.unpack("=Q", state) == (5,)
        state[:] = struct.pack("=Q", 70)
        run(loaded.program_fd("send_record"), 1)
        assert numbers(take(ring))[-1] == 70
        loaded.close()
        assert struct.unpack("=Q", state) == (71,)
        state.release()
        with pytest.raises(ValueError, match="released"):
            bytes(state)

    def test_reports_about_its_programs(self, loaded: BpfObject) -> None:
        info = loaded.program_info("send_record")
        assert info.name == "send_record"
        assert info.verified_instructions > 0
        assert info.recursion_misses == 0

    def test_is_refused_after_close(self, loaded: BpfObject) -> None:
        loaded.close()
        loaded.close()
        assert loaded.closed
        with pytest.raises(NetmonError, match="BpfObject is closed"):
            loaded.map_fd("records")


class TestUpdateMap:
    def test_fills_a_trie(self, opened: BpfObject) -> None:
        opened.set_max_entries("cidrs", 100_000)
        opened.load()
        # The last, in another batch than the first, is the same and takes no room of its own.
        keys = b"".join(struct.pack("=III", 64, 0, number) for number in (*range(99_999), 0))
        update_map(opened.map_fd("cidrs"), keys, 12, b"\1")
        update_map(opened.map_fd("cidrs"), struct.pack("=III", 64, 0, 99_999), 12, b"\1")
        with pytest.raises(BpfError, match=r"fill map: .* \(ENOSPC\)"):
            update_map(opened.map_fd("cidrs"), struct.pack("=III", 64, 1, 0), 12, b"\1")

    def test_fills_a_map_that_takes_no_batches(self, loaded: BpfObject) -> None:
        devices = loaded.map_fd("devices")
        loopback = struct.pack("=I", 1)
        update_map(devices, struct.pack("=4I", *range(4)), 4, loopback)
        with pytest.raises(BpfError, match=r"fill map: .* \(E2BIG\)"):
            update_map(devices, struct.pack("=I", 4), 4, loopback)

    def test_does_nothing_without_keys(self) -> None:
        update_map(-1, b"", 12, b"\1")


class TestRingBuffer:
    def test_stops_at_the_limit(self, loaded: BpfObject, ring: RingBuffer) -> None:
        assert take(ring) == []
        run(loaded.program_fd("send_record"), 25)
        batches = [numbers(take(ring, 10 * RECORD_SIZE)) for _ in range(4)]
        assert batches == [list(range(10)), list(range(10, 20)), list(range(20, 25)), []]

    def test_reads_a_full_buffer(self, loaded: BpfObject, ring: RingBuffer) -> None:
        run(loaded.program_fd("send_record"), 2 * RING_RECORDS)
        (sent,) = struct.unpack("=Q", loaded.data(".data.state"))
        assert sent >= RING_RECORDS
        assert numbers(take(ring)) == list(range(sent))

    def test_skips_discarded_records(self, loaded: BpfObject, ring: RingBuffer) -> None:
        for program in ("send_record", "discard_record", "send_record", "discard_record"):
            run(loaded.program_fd(program), 1)
        assert numbers(take(ring)) == [0, 1]
        assert take(ring) == []

    def test_reads_while_the_kernel_writes(self, loaded: BpfObject, ring: RingBuffer) -> None:
        """Many times the buffer's size is read, across its end."""
        writer = threading.Thread(target=lambda: run(loaded.program_fd("send_record"), 20 * RING_RECORDS))
        writer.start()
        seen: list[int] = []
        while writer.is_alive():
            seen += numbers(take(ring, 64 << 10))
        writer.join()
        seen += numbers(take(ring))
        (sent,) = struct.unpack("=Q", loaded.data(".data.state"))
        assert sent > RING_RECORDS
        assert seen == list(range(sent))

    def test_records_stay_valid_after_close(self, loaded: BpfObject, ring: RingBuffer) -> None:
        run(loaded.program_fd("send_record"), 2)
        records = take(ring)
        ring.close()
        loaded.close()
        assert numbers(records) == [0, 1]
        assert [len(record) for record in records] == [64, 64]

    def test_two_buffers_do_not_mix(self, object_file: bytes, loaded: BpfObject, ring: RingBuffer) -> None:
        with BpfObject(object_file, "other") as other:
            other.set_initial_value(".rodata.settings", struct.pack("=Q", 500))
            other.load()
            with closing(RingBuffer(other.map_fd("records"), 4096)) as other_ring:
                run(loaded.program_fd("send_record"), 2)
                run(other.program_fd("send_record"), 3)
                assert numbers(take(ring)) == [0, 1]
                assert numbers(take(other_ring)) == [500, 501, 502]
        run(loaded.program_fd("send_record"), 1)
        assert numbers(take(ring)) == [2]

    def test_is_refused_after_close(self, ring: RingBuffer) -> None:
        ring.close()
        ring.close()
        with pytest.raises(NetmonError, match="RingBuffer is closed"):
            ring.fill(1)
        with pytest.raises(NetmonError, match="RingBuffer is closed"):
            ring.fileno()

    def test_waiting_for_records_goes_on_after_signals(
        self, loaded: BpfObject, ring: RingBuffer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        signals = []
        sender = threading.Thread(target=lambda: run(loaded.program_fd("send_record"), 1))

        def on_alarm(number: int, _frame: FrameType | None) -> None:
            signals.append(number)
            if len(signals) == 3:
                sender.start()

        poll = select.poll()
        poll.register(ring.fileno(), select.POLLIN)
        assert poll.poll(0) == []
        before = signal.signal(signal.SIGALRM, on_alarm)
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        try:
            assert poll.poll(60_000) == [(ring.fileno(), select.POLLIN)]
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        sender.join()
        assert len(signals) >= 3
        assert numbers(take(ring)) == [0]

    def test_an_exception_amid_reading_neither_loses_nor_repeats_records(
        self, object_file: bytes, tmp_path: Path
    ) -> None:
        """In a process of its own, since this one may have threads."""
        file = tmp_path / "bindings.bpf.o"
        file.write_bytes(object_file)
        script = f"from {__name__} import read_interrupted; read_interrupted({str(file)!r})"
        environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
        done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def read_interrupted(object_file: str) -> None:
    """Read many times, while a signal handler raises at any point of the reading, as Ctrl-C does."""
    with BpfObject(Path(object_file).read_bytes(), "bindings") as loaded:
        loaded.set_max_entries("records", RING_SIZE)
        loaded.load()
        with closing(RingBuffer(loaded.map_fd("records"), RING_SIZE)) as ring:
            seen: list[int] = []
            interruptions = 0
            for attempt in range(100):
                run(loaded.program_fd("send_record"), RING_RECORDS)
                interruptions += fill_for(ring, seconds=0.00001 * (1 + attempt % 50))
                seen += numbers(list(records_of(ring.batch))) + numbers(take(ring))
            (sent,) = struct.unpack("=Q", loaded.data(".data.state"))
            assert interruptions > 10
            assert seen == list(range(sent))


class TimeUpError(Exception):
    """Raised by a signal handler."""


def fill_for(ring: RingBuffer, seconds: float) -> bool:
    """Read while a signal handler raises after some time; return whether that was during the reading."""
    reading = True

    def on_alarm(_number: int, _frame: FrameType | None) -> None:
        if reading:
            raise TimeUpError

    signal.signal(signal.SIGALRM, on_alarm)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        ring.fill(RING_SIZE)
        reading = False
        return False
    except TimeUpError:
        return True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def test_a_limit_that_is_not_the_cause_is_left_out() -> None:
    log = "libbpf: Failed to bump RLIMIT_MEMLOCK (err = -1), you might need to do it explicitly!\n"
    assert str(libbpf.make_error(1, "load x", log)) == "load x: Operation not permitted (EPERM)"
    assert str(libbpf.make_error(1, "load x", f"{log}libbpf: it fails\n")).endswith("(EPERM): it fails")
