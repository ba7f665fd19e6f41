"""The rooms are where the package says they are, and their modules are small, named and explained."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from pathlib import Path

import wavstream

PACKAGE = Path(wavstream.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
MIN_LINES, MAX_LINES = 80, 400
LONGER = {
    "service/service.py": "the composition root: every part, in the order in which they are made",
}
SHORTER = {
    "The media server of one dialect, as the simulator plays it": tuple(
        f"simulator/vendors/{path.name}" for path in (PACKAGE / "simulator/vendors").glob("[a-z]*.py")
    ),
    "An engine that transcribes, and which of them it is": (
        "transcription/engines/choice.py",
        "transcription/engines/pocketsphinx_engine.py",
    ),
    "A line each, for what is looked up there": ("api/registry.py", "dialects/registry.py"),
    "An interface, which its implementations import": (
        "rendering/encoders/encoder.py",
        "sessions/openers/base.py",
    ),
    "One value or one word of the trade, used by many rooms": (
        "access/app_cache.py",
        "model/filters.py",
        "model/ids.py",
        "model/operation.py",
        "model/origin.py",
        "model/times.py",
        "model/weak_keys.py",
        "sessions/keyed_locks.py",
        "simulator/address.py",
        "simulator/refusals.py",
        "storage/modes.py",
        "storage/open_files.py",
        "webhooks/vocabulary.py",
        "dialects/early.py",
        "sessions/restored.py",
        "cluster/tailed_journal.py",
    ),
    "A table's repository": (
        "catalog/dead_letters.py",
        "catalog/holds.py",
        "catalog/idempotency.py",
        "catalog/stored_runs.py",
        "catalog/transcribed_speech.py",
    ),
    "One route, or one clause of an RFC": (
        "api/elsewhere.py",
        "api/facade_documents.py",
        "api/gateway/answers.py",
        "api/gateway/dependencies.py",
        "api/gateway/mount.py",
        "api/gateway/sessions.py",
        "api/holds.py",
        "api/mount.py",
        "api/options.py",
        "api/paths.py",
        "api/routes.py",
        "api/signalwire/mount.py",
        "api/telnyx/mount.py",
        "api/vendor_options.py",
    ),
    "One rule or one algorithm, tested by itself": (
        "service/garbage.py",
        "access/key_table.py",
        "access/secret_box.py",
        "access/signing_keys.py",
        "access/twilio_signature.py",
        "api/console_cookies.py",
        "api/cross_origin.py",
        "model/scripts.py",
        "api/signalwire/swml/variables.py",
        "journal/amendments.py",
        "recovery/agreement.py",
        "recovery/missing_files.py",
        "service/acceptor.py",
        "service/disk_watch.py",
        "service/front.py",
        "api/request_counts.py",
        "api/translation.py",
        "catalog/access_copy.py",
        "catalog/once_lock.py",
        "cluster/load.py",
        "cluster/node_clock.py",
        "cluster/orphans.py",
        "conversion/verification.py",
        "listening/reasons.py",
        "media/refusals.py",
        "media/relayed.py",
        "model/file_names.py",
        "rendering/codecs/decode.py",
        "rendering/codecs/encode.py",
        "retention/expiry.py",
        "retention/holds.py",
        "media/playback.py",
        "sessions/draining.py",
        "sessions/openers/permission.py",
        "settings/catalog.py",
        "settings/origins.py",
        "settings/quotas.py",
        "dialects/joined_json.py",
        "settings/signatures.py",
        "settings/transcription.py",
        "transcription/schedule.py",
        "service/named.py",
        "service/readiness.py",
        "webhooks/message.py",
        "webhooks/resolver.py",
        "webhooks/signing.py",
    ),
    "One command, or one part of the composition": (
        "service/cluster_metrics.py",
        "__main__.py",
        "cli/backup.py",
        "cli/data_folder.py",
        "cli/drawing.py",
        "cli/journals.py",
        "cli/commands/webhooks.py",
        "cli/interrupts.py",
        "cli/options.py",
        "cli/recover.py",
        "cli/restore.py",
        "cli/secrets.py",
        "cluster/start_checks.py",
        "service/memory.py",
        "simulator/voices/make_voices.py",
    ),
}
"""Why a module may be shorter than ``MIN_LINES``: the reason, and who has it."""
NAMES_THAT_SAY_NOTHING = {"common", "helper", "helpers", "manager", "misc", "util", "utils"}


def name(module: Path) -> str:
    return module.relative_to(PACKAGE).as_posix()


def test_the_path_of_a_sample_names_rooms_that_exist() -> None:
    sentence = re.search(r"The path of a sample: (.*?)\.$", wavstream.__doc__ or "", re.DOTALL | re.MULTILINE)
    assert sentence is not None

    first, *rooms = re.split(r"\s*->\s*|,\s*", sentence[1])

    assert first == "socket"
    assert len(rooms) >= 7
    assert [room for room in rooms if not (PACKAGE / room / "__init__.py").is_file()] == []


def lengths() -> dict[str, int]:
    """Lines of every module that holds more than its room's sentence; migrations are as long as what they change."""
    return {
        name(module): len(module.read_text("utf-8").splitlines())
        for module in MODULES
        if module.name != "__init__.py" and "migrations" not in module.parts
    }


def test_every_module_fits_on_a_few_screens_or_has_a_reason() -> None:
    longer = {module for module, lines in lengths().items() if lines > MAX_LINES}

    assert longer == set(LONGER)


def test_no_module_is_a_fragment_without_a_reason() -> None:
    reasons = [module for modules in SHORTER.values() for module in modules]
    shorter = {module for module, lines in lengths().items() if lines < MIN_LINES}

    assert shorter == {module for module in reasons if lengths()[module] < MIN_LINES or module.count("vendors/") == 0}
    assert len(reasons) == len(set(reasons))


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [name(module) for module in MODULES if NAMES_THAT_SAY_NOTHING & set(module.stem.split("_"))] == []
    assert [name(folder) for folder in PACKAGE.rglob("*/") if folder.name in NAMES_THAT_SAY_NOTHING] == []


def test_every_module_says_on_its_first_line_what_it_is_for() -> None:
    silent = []
    for module in MODULES:
        docstring = ast.get_docstring(ast.parse(module.read_text("utf-8")))
        if not docstring or not docstring.splitlines()[0].strip():
            silent.append(name(module))

    assert silent == []


def test_the_command_that_is_installed_is_one_that_can_be_called() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text("utf-8"))["project"]
    module, _, function = project["scripts"]["wavstream"].partition(":")

    assert callable(getattr(importlib.import_module(module), function))
