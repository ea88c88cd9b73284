"""What an encrypted store says of its keys, so that a process that lacks one does not take films for missing."""

import json
from typing import TYPE_CHECKING, Final

from shared.errors import StoreAway
from shared.files import Files
from shared.settings import PREFIX

if TYPE_CHECKING:
    from shared.encryption import Keyring

KEYS_FILE: Final = "keys.json"


class KeyRecord:
    """The ids of the keys that a store's files are sealed with, kept beside the files."""

    def __init__(self, files: Files, keyring: "Keyring | None") -> None:
        self._files = files
        self._held = keyring.ids if keyring else []
        self._is_settled = False

    def settle(self) -> None:
        """Before the first file is written: see that all keys are at hand, and add the one that seals.

        Raises StoreAway where one is not.
        """
        if self._is_settled:
            return
        known = self.refuse_unknown()
        if self._held and self._held[0] not in known:
            self._write([*known, self._held[0]])
        self._is_settled = True

    def refuse_unknown(self) -> list[str]:
        """Return the ids on record; raise StoreAway where the key of one of them is not at hand."""
        known = self._read()
        lacking = next((key_id for key_id in known if key_id not in self._held), None)
        if lacking is not None:
            raise StoreAway(
                f"The image store is encrypted with the key {lacking}, which {PREFIX}STORE_KEY does not hold. "
                "Add that key and start again."
            )
        return known

    def keep_first(self) -> None:
        """Record that all files are sealed with the first key, so that the others can go."""
        self._write(self._held[:1])

    def _read(self) -> list[str]:
        try:
            return [str(key_id) for key_id in json.loads(self._files.read(KEYS_FILE))["keys"]]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError) as error:
            raise StoreAway(f"{KEYS_FILE} in the image store is damaged. Restore it, or remove it.") from error

    def _write(self, ids: list[str]) -> None:
        self._files.write(KEYS_FILE, json.dumps({"keys": ids}).encode())
