"""The command line: a command parses its arguments, calls one function of the library and prints the result.

No other package imports this one. Commands are imported when they are called, and import heavy packages only when they
run, so that ``--help`` answers at once.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from arbex.cli.console import Invocation, debug_option, fail
from arbex.errors import ArbexError, InputError, MissingPackageError

COMMANDS = {
    "synth": ("arbex.cli.synth:synth", "Draw a data set of procedural faces."),
    "train": ("arbex.cli.train:train", "Train a model."),
    "evaluate": ("arbex.cli.evaluate:evaluate", "Measure a model on labeled images."),
    "experiment": ("arbex.cli.experiment:experiment", "Reproduce the paper's tables and figures on your data."),
    "import-weights": ("arbex.cli.import_weights:import_weights", "Turn published weights into a run."),
    "calibrate": ("arbex.cli.export:calibrate", "Write a calibration table for INT8."),
    "export": ("arbex.cli.export:export", "Turn a run into bundles for devices."),
    "verify": ("arbex.cli.verify:verify", "Check bundles against PyTorch."),
    "run": ("arbex.cli.run:run", "Classify images with a bundle."),
    "bench": ("arbex.cli.bench:bench", "Measure latency, memory and size of artifacts."),
    "inspect": ("arbex.cli.inspect:inspect", "Show what a bundle holds or what a model costs."),
    "emulators": ("arbex.cli.emulators:emulators", "Set up the emulation of other processors."),
    "doctor": ("arbex.cli.doctor:doctor", "Show which backends work on this machine."),
}
"""``module:function`` and the one-line help of each command."""

INTERRUPTED = 130
UNEXPECTED = 70
EXTRAS = {
    "train": "train",
    "evaluate": "train",
    "experiment": "experiments",
    "import-weights": "train",
    "calibrate": "export",
    "export": "export",
}
"""Extra that installs the packages of a command."""


class LazyGroup(click.Group):
    """A group that imports a command when it is called, not when it is listed."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Returns the names in the order in which they are used."""
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Imports a command."""
        if name not in COMMANDS:
            return None
        module, _, function = COMMANDS[name][0].partition(":")
        command: click.Command = getattr(import_module(module), function)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the commands with the lines above, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="arbex", message="arbex %(version)s")
@debug_option
def root() -> None:
    """Facial-expression models on the edge.

    Train ARBEx, export it for Jetson, iPhone, Android, RTX and CPU, and prove that what runs there is the model.

    First steps: arbex synth faces --images 4000 --subjects 40, arbex train --data faces, arbex export --target all.
    """


def missing_package(error: ModuleNotFoundError, arguments: list[str]) -> MissingPackageError:
    """Returns the error for a missing package, with the extra of the command that needs it."""
    command = next((a for a in arguments if a in COMMANDS), "this")
    return MissingPackageError(error.name or str(error), f"arbex {command}", extra=EXTRAS.get(command, ""))


def permission_denied(error: PermissionError) -> InputError:
    """Returns the error for a file or folder that this user may not use."""
    return InputError(
        f"{error.filename or 'A file'} cannot be used: {error.strerror}.", remedy="Give this user permission to use it."
    )


def invoke(arguments: list[str], program: str) -> int:
    """Runs a command line and returns its exit code."""
    invocation = Invocation()
    try:
        result: Any = root.main(list(arguments), prog_name=program, standalone_mode=False, obj=invocation)
        return result if isinstance(result, int) else 0
    except ArbexError as error:
        return fail(str(error), error.exit_code, debug=invocation.debug)
    except ModuleNotFoundError as error:
        missing = missing_package(error, arguments)
        return fail(str(missing), missing.exit_code, debug=invocation.debug)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 0
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else program
        return fail(f"{error.format_message()} See: {where} --help.", 2)
    except click.ClickException as error:
        return fail(error.format_message(), 2)
    except (click.Abort, KeyboardInterrupt):
        return fail("Interrupted.", INTERRUPTED)
    except PermissionError as error:
        return fail(str(permission_denied(error)), InputError.exit_code, debug=invocation.debug)
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Exception as error:
        message = f"Unexpected {type(error).__name__} (run again with --debug to see where): {error}"
        return fail(message, UNEXPECTED, debug=invocation.debug)


def main() -> None:
    """Entry point ``arbex``."""
    sys.exit(invoke(sys.argv[1:], "arbex"))


def export_main() -> None:
    """Entry point ``arbex-export``, the same as ``arbex export``."""
    sys.exit(invoke(["export", *sys.argv[1:]], "arbex"))
