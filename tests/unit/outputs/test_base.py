"""Writing to real pipes and files."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import socket
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from netmon.errors import OutputError
from netmon.outputs import base
from netmon.outputs.base import Output

DATA = b"".join(b"%07d " % number + b"x" * 991 + b"\n" for number in range(1000))  # a megabyte of lines


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The ends of a pipe, to read from and to write to."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def write_all(output: Output) -> None:
    written = 0
    while written < len(DATA):
        written += output.write(DATA, written, 10)


@pytest.mark.parametrize("blocking", [True, False])
def test_every_byte_is_written_whatever_a_pipe_takes_at_once(blocking: bool) -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, blocking)
    received: list[bytes] = []
    with open(read_end, "rb") as source:
        thread = threading.Thread(target=lambda: received.extend(source))
        thread.start()
        output = Output("pipe", write_end)
        write_all(output)
        output.close()
        thread.join()
    assert b"".join(received) == DATA


@pytest.mark.parametrize("reopens", [True, False])
def test_a_write_to_a_full_pipe_does_not_wait(
    pipe: tuple[int, int], reopens: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it change the pipe for the other processes that have it, or when it cannot be opened again."""
    if not reopens:
        monkeypatch.setattr(base, "_reopen", lambda _fd: None)
    read_end, write_end = pipe
    output = Output("pipe", write_end)
    written = 0
    while taken := output.write(DATA, written, 0):
        written += taken
    assert written == fcntl.fcntl(write_end, fcntl.F_GETPIPE_SZ)
    assert os.read(read_end, written + 1) == DATA[:written]
    assert output.write(DATA, written, 0) > 0
    assert os.get_blocking(write_end)


def test_a_write_to_a_full_socket_does_not_wait() -> None:
    """As to the journal."""
    ours, theirs = socket.socketpair()
    with theirs:
        output = Output("socket", ours.detach())
        written = 0
        while taken := output.write(DATA, written, 0):
            written += taken
        assert 0 < written < len(DATA)
        output.close()
        with theirs.makefile("rb") as source:  # up to its end: every descriptor of the output is closed
            assert source.read() == DATA[:written]


def test_a_pipe_takes_whole_lines_and_never_blocks(pipe: tuple[int, int]) -> None:
    read_end, write_end = pipe
    output = Output("pipe", write_end)
    written = 0
    while size := output.write_some(DATA, written, 0):
        assert size <= select.PIPE_BUF
        assert DATA[written + size - 1 : written + size] == b"\n"
        written += size
    assert written > 40_000
    assert os.read(read_end, written + 1) == DATA[:written]
    assert output.write_some(DATA, written, 0) > 0


def test_a_line_longer_than_a_pipe_takes_at_once_is_written_in_parts(pipe: tuple[int, int]) -> None:
    read_end, write_end = pipe
    output, line = Output("pipe", write_end), b"y" * 10_000 + b"\n"
    written = received = 0
    while written < len(line):
        written += output.write_some(line, written, 0)
        received += len(os.read(read_end, 1 << 16))
    assert received == len(line)


def test_a_truncated_file_goes_on_at_its_beginning(tmp_path: Path) -> None:
    """As after logrotate's copytruncate, though the file was not opened to append."""
    path = tmp_path / "events"
    output = Output("file", os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
    assert output.write(DATA, 0, 0) == len(DATA)
    os.truncate(path, 0)
    assert output.write(b"next\n", 0, 0) == 5
    output.close()
    assert path.read_bytes() == b"next\n"


def test_a_line_that_was_written_in_part_is_removed_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_bytes(b"earlier\n")
    output = Output("file", os.open(path, os.O_WRONLY))
    output.write(b"one\ntw", 0, 0)
    output.remove_torn_line(b"one\ntwo\n", 6)
    assert path.read_bytes() == b"earlier\none\n"
    output.remove_torn_line(b"one\ntwo\n", 4)  # none is torn
    assert path.read_bytes() == b"earlier\none\n"
    output.close()


def test_a_torn_line_stays_if_another_process_has_written_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "events"
    output = Output("file", os.open(path, os.O_WRONLY | os.O_CREAT))
    output.write(b"tw", 0, 0)
    with path.open("ab") as other:
        other.write(b"others\n")
    output.remove_torn_line(b"two\n", 2)
    output.close()
    assert path.read_bytes() == b"twothers\n"


def test_a_terminal_that_hangs_up_has_no_reader_any_more() -> None:
    """Its window was closed."""
    master, terminal = pty.openpty()
    output = Output("terminal", terminal)
    output.require_reader()
    assert output.write(b"line\n", 0, 0) == 5
    os.close(master)
    with pytest.raises(OutputError) as caught:
        output.require_reader()
    assert caught.value.reader_gone
    with pytest.raises(BrokenPipeError):
        output.write(b"line\n", 0, 0)
    output.close()


def test_a_stopped_terminal_does_not_make_writes_wait() -> None:
    """As after Ctrl-S."""
    master, terminal = pty.openpty()
    output = Output("terminal", terminal)
    termios.tcflow(terminal, termios.TCOOFF)
    assert output.write(DATA, 0, 0) == 0
    termios.tcflow(terminal, termios.TCOON)
    assert output.write(DATA, 0, 0) > 0
    output.close()
    os.close(master)


def test_a_file_takes_all(tmp_path: Path) -> None:
    path = tmp_path / "events"
    output = Output("file", os.open(path, os.O_WRONLY | os.O_CREAT))
    assert output.write_some(DATA, 1000, 0) == len(DATA) - 1000
    output.close()
    assert path.read_bytes() == DATA[1000:]


def test_a_reader_that_goes_away_is_noticed() -> None:
    read_end, write_end = os.pipe()
    output = Output("pipe", write_end)
    output.require_reader()
    os.close(read_end)
    with pytest.raises(OutputError, match=r"^pipe: Broken pipe$") as caught:
        output.require_reader()
    assert caught.value.reader_gone
    with pytest.raises(BrokenPipeError):
        write_all(output)
    output.close()


def test_a_full_file_system_is_named() -> None:
    output = Output("file", os.open("/dev/full", os.O_WRONLY))
    output.require_reader()
    with pytest.raises(OSError, match="No space left on device"):
        write_all(output)
    output.close()
