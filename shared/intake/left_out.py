"""Recognise non-image files of a patient's disc or a folder, which are skipped and counted, without a row."""

from pathlib import PurePosixPath
from typing import Final

# Files that file managers leave in every folder.
_OF_SYSTEMS: Final = {".ds_store", "thumbs.db", "desktop.ini", "ehthumbs.db", ".directory", "icon\r"}
_FOLDERS_OF_SYSTEMS: Final = {"__macosx", "system volume information", "$recycle.bin", ".trashes", ".spotlight-v100"}
DICOMDIR: Final = "dicomdir"
"""The table of contents of a disc: a DICOM file without an image."""

# Files of the viewer that programs write onto a disc (IHE Portable Data for Imaging, volume 3, 4.47: README.TXT,
# INDEX.HTM).
_OF_DISCS: Final = {DICOMDIR, "readme.txt", "readme", "liesmich.txt", "lisezmoi.txt", "autorun", "version.txt"}
_ENDINGS: Final = {
    ".exe", ".dll", ".ocx", ".sys", ".com", ".bat", ".cmd", ".msi", ".cab", ".jar", ".class", ".so", ".dylib", ".sh",
    ".inf", ".ini", ".cfg", ".conf", ".config", ".manifest", ".lnk", ".url", ".html", ".htm", ".css", ".js", ".xml",
    ".xsl", ".xslt", ".xsd", ".dtd", ".chm", ".hlp", ".ico", ".icns", ".plist", ".log", ".md5", ".sha1", ".sha256",
    ".ttf", ".woff", ".vbs",
}  # fmt: skip

SYSTEM: Final = "of an operating system's file manager"
DISC: Final = "of a disc's viewer"


def by_kind() -> dict[str, list[str]]:
    """Return the names, extensions and folders in lower case, for the upload page."""
    names, folders = sorted(_OF_SYSTEMS | _OF_DISCS), sorted(_FOLDERS_OF_SYSTEMS)
    return {"names": names, "endings": sorted(_ENDINGS), "folders": folders}


def is_system_folder(name: str) -> bool:
    """Tell whether a folder is used only by an operating system."""
    return name.lower() in _FOLDERS_OF_SYSTEMS


def why_left_out(name: str) -> str | None:
    """Say by its name why a file is no image; None where it may be one, whose content then decides."""
    path = PurePosixPath(name.replace("\\", "/").lower())
    if path.name in _OF_SYSTEMS or path.name.startswith("._") or not _FOLDERS_OF_SYSTEMS.isdisjoint(path.parts):
        return SYSTEM
    return DISC if path.name in _OF_DISCS or path.suffix in _ENDINGS else None
