"""A virtual machine under software emulation, and the channel on its second serial port."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vm.archive import KERNELS, Archive, KernelLine, locked_cache
from vm.image import BUILD, FOR_TESTS, Contents, base_image, headers_image, modules_image
from vm.overlay import project_overlay

CPUS = 2
# In place of a module's name.
SHELL = ""
# Emulated CPUs that patch each other's code sometimes fault while the kernel boots; nothing of netmon has run by then.
BOOTS = 3


class Machine:
    """A guest with the project in it. It runs from construction until it powers off, or close()."""

    def __init__(
        self,
        kernel: str,
        module: str,
        files: dict[str, bytes] | None = None,
        contents: Contents = FOR_TESTS,
        *,
        counts_instructions: bool = False,
    ) -> None:
        """Start the guest.

        Args:
            kernel: A name of KERNELS.
            module: The Python module that the guest runs; SHELL for a shell on this terminal.
            files: Further files, by name, to put into the project's directory in the guest.
            contents: What else the guest has.
            counts_instructions: Give it one processor, whose clock moves a nanosecond with each instruction.
        """
        line = KERNELS[kernel]
        if not shutil.which(line.architecture.qemu):
            raise FileNotFoundError(
                f"no {line.architecture.qemu}: `python3 build.py compile` installs all that is missing"
            )
        self._memory = contents.memory
        self._counts_instructions = counts_instructions
        self.directory = BUILD / "guest" / f"{kernel}-{contents.name}"
        self.directory.mkdir(parents=True, exist_ok=True)
        self.console = self.directory / "console.log"
        self.console.unlink(missing_ok=True)
        with locked_cache():
            vmlinuz = Archive(line.suite, line.architecture).kernel(line)
            self.release = vmlinuz.parent.name
            files = {**(files or {}), "release": self.release.encode()}
            initramfs = self._initramfs(line, contents, files)
        command = self._command(line, vmlinuz, initramfs, module)
        pipe = None if module == SHELL else subprocess.PIPE
        self.process = subprocess.Popen(
            # In its own session: Ctrl-C reaches this process alone, which passes it on.
            command,
            stdin=pipe,
            stdout=pipe,
            start_new_session=module != SHELL,
        )

    def _initramfs(self, line: KernelLine, contents: Contents, files: dict[str, bytes]) -> Path:
        """The kernel unpacks archives that follow one another."""
        parts = [base_image(line, contents)]
        if contents.kernel_headers:
            parts.append(headers_image(line, self.release))
        if contents.modules:
            parts.append(modules_image(line, self.release, contents.modules))
        parts.append(self.directory / "overlay.cpio")
        project_overlay(files, line, contents, parts[-1])
        initramfs = self.directory / "initramfs"
        with initramfs.open("wb") as output:
            for part in parts:
                with part.open("rb") as archive:
                    shutil.copyfileobj(archive, output, 1 << 20)
        return initramfs

    def _command(self, line: KernelLine, vmlinuz: Path, initramfs: Path, module: str) -> list[str]:
        architecture = line.architecture
        # The kernel's tests of its own ciphers take a second or two under emulation.
        options = ["console=ttyS0", "quiet", "panic=-1", "cryptomgr.notests", *architecture.boot_options]
        return [
            # The guest ends with this process.
            *("setpriv", "--pdeathsig", "KILL", architecture.qemu, *architecture.machine),
            *self._processors(line.cpu),
            *("-m", self._memory, "-nodefaults", "-display", "none", "-no-reboot"),
            *self._serial_ports(architecture.serial_port, module),
            *("-kernel", str(vmlinuz), "-initrd", str(initramfs)),
            *("-append", " ".join([*options, f"netmon.module={module}"])),
        ]

    def _processors(self, kind: str) -> Iterator[str]:
        yield from ("-cpu", kind)
        if self._counts_instructions:
            # While the guest waits, its clock moves on at once.
            yield from ("-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-smp", "1")
        else:
            yield from ("-accel", "tcg,thread=multi", "-smp", str(CPUS))

    def _serial_ports(self, device: str, module: str) -> Iterator[str]:
        """The console and, where that is not the terminal, the channel."""
        if module == SHELL:
            ends = ["stdio,mux=on"]
            yield from ("-mon", "chardev=port0")
        else:
            ends = [f"file,path={self.console}", "stdio"]
        for number, end in enumerate(ends):
            yield from ("-chardev", f"{end},id=port{number}", "-device", f"{device},chardev=port{number}")

    def messages(self) -> Iterator[dict[str, Any]]:
        """Yield what the guest sends, until it ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                yield json.loads(line)
            except ValueError:
                yield {"stderr": f"(garbled) {line!r}\n"}

    def send(self, line: str) -> None:
        """Send the guest a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def console_tail(self, lines: int = 60) -> str:
        """Return the last lines that the guest wrote to its console."""
        if not self.console.exists():
            return ""
        return "\n".join(self.console.read_text(errors="replace").splitlines()[-lines:])

    def close(self) -> None:
        """End it, if it has not ended by itself."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        (self.directory / "initramfs").unlink(missing_ok=True)
