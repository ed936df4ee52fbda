"""Writing to real pipes and files."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from netmon.errors import OutputError
from netmon.outputs.base import Output

DATA = b"".join(b"%07d " % number + b"x" * 991 + b"\n" for number in range(1000))  # a megabyte of lines


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The ends of a pipe, to read from and to write to."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


@pytest.mark.parametrize("blocking", [True, False])
def test_every_byte_is_written_whatever_a_pipe_takes_at_once(blocking: bool) -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, blocking)
    received: list[bytes] = []
    with open(read_end, "rb") as source:
        thread = threading.Thread(target=lambda: received.extend(source))
        thread.start()
        output = Output("pipe", write_end)
        output.write(DATA)
        output.close()
        thread.join()
    assert b"".join(received) == DATA


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
    with pytest.raises(OutputError, match=r"^pipe: Broken pipe$") as caught:
        output.write(DATA)
    assert caught.value.reader_gone
    output.close()


def test_a_full_file_system_is_named() -> None:
    output = Output("file", os.open("/dev/full", os.O_WRONLY))
    output.require_reader()
    with pytest.raises(OutputError, match=r"^file: No space left on device$") as caught:
        output.write(DATA)
    assert not caught.value.reader_gone
    output.close()
