"""The one table of refusal texts: the English sentences of each code, and what to do.

- `sentence` says what is wrong without any parameter: for the help page, and for rows without parameters.
- `cases` are more specific sentences. The parameter `case` chooses one; the one under "" is used without it. Where
  there are cases, each place that raises the code names one. A case may have its own `action`.
- Parameters are JSON scalars: numbers, technical names (JPEG 2000), or words of TERMS. Never a sentence, a file name,
  or anything that a header says of a person; what it says of the file is filtered first, as in `shared.images.dicom`.
- `action` says what to do, for a reader who makes or sends X-rays and is no engineer.
"""

import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from shared.refusals.codes import Failure, Rejection


@dataclass(frozen=True)
class Case:
    """One sentence of a code, with its parameters in braces, and what to do where that differs."""

    sentence: str
    action: str = ""

    @property
    def parameters(self) -> frozenset[str]:
        """Return the names of the parameters that the sentence needs."""
        return frozenset(name for _, name, _, _ in string.Formatter().parse(self.sentence) if name)


@dataclass(frozen=True)
class Refusal:
    """A code's short name, what it means, what to do, and the sentences that say more."""

    name: str
    sentence: str
    action: str
    cases: Mapping[str, Case] = field(default_factory=dict)


def every_text() -> Iterator[str]:
    """Yield every English text that `explain` may use, for translators."""
    yield from (UNKNOWN, TELL_SUPPORT)
    for refusal in REFUSALS.values():
        yield from (refusal.name, refusal.sentence, refusal.action)
        for case in refusal.cases.values():
            yield from filter(None, (case.sentence, case.action))
    for words in TERMS.values():
        yield from words.values()


TERMS: Final[Mapping[str, Mapping[str, str]]] = {
    "format": {
        "7z": "a 7-Zip archive", "avif": "an AVIF file", "gif": "a GIF", "gzip": "a gzip file",
        "heic": "an HEIC file", "jpeg_2000": "a JPEG 2000 file", "jpeg_2000_stream": "a JPEG 2000 codestream",
        "jpeg_xl": "a JPEG XL file", "nifti": "a NIfTI volume", "office": "an Office document",
        "pdf": "a PDF document", "photoshop": "a Photoshop file", "program": "a program", "rar": "a RAR archive",
        "svg": "an SVG drawing", "tar": "a tar archive", "web_page": "a web page", "xml": "an XML file",
        "zip_part": "a part of a split ZIP",
    },
    "kind": {
        "unsigned": "unsigned", "signed": "signed", "float": "floating-point", "complex": "complex",
        "other": "unknown",
    },
    "compression": {"none": "no compression", "bit_fields": "bit fields"},
    "process": {
        "lossy": "JPEG", "lossless": "lossless JPEG", "ls": "JPEG-LS", "jpeg_2000": "JPEG 2000",
        "other": "JPEG of a rare kind",
    },
    "modality": {"missing": "missing", "unknown": "unknown"},
    "syntax": {"unknown": "unknown"},
}  # fmt: skip
"""Texts for terms that a parameter may hold; any other value is shown unchanged."""

UNKNOWN: Final = "It was not screened, for a reason unknown to this version: '{code}'."
TELL_SUPPORT: Final = "Tell support, and name this code."
_RESEND: Final = "Copy or export the X-ray again from its source and send that."
_FROM_PACS: Final = "Export it again from the PACS and send that."
_SEND_CHEST: Final = "Send the frontal chest X-ray."
_REZIP: Final = "Make the ZIP again and send it, or send the X-rays themselves."
_TO_PLAIN: Final = "Export the X-ray as PNG, as an uncompressed TIFF, or as a grey JPEG of 8 bits."

REFUSALS: Final[Mapping[str, Refusal]] = {
    Rejection.EMPTY_FILE: Refusal("Empty file", "The file is empty: it has no content at all.", _RESEND),
    Rejection.UNKNOWN_FORMAT: Refusal(
        "Unknown format",
        "This is not a JPEG, PNG, TIFF, BMP, WebP or DICOM image, whatever its name says.",
        "Export the X-ray in one of these formats and send that.",
        {
            "": Case("This is not a JPEG, PNG, TIFF, BMP, WebP or DICOM image, whatever its name says."),
            "other": Case(
                "This is {format}, not a JPEG, PNG, TIFF, BMP, WebP or DICOM image, whatever its name says."
            ),
        },
    ),
    Rejection.UNREADABLE_IMAGE: Refusal(
        "Damaged image", "The image is damaged and cannot be decoded.", _RESEND,
        {
            "pixels": Case("The image is damaged and cannot be decoded."),
            "header": Case("The beginning of the file, which describes the image, is damaged."),
            "scans": Case("The JPEG is made of more than {most} scans, which no X-ray is, so it was not decoded."),
            "tiff": Case("The TIFF is damaged."),
            "infinite": Case("Some pixels of the TIFF hold no valid number."),
            "dicom": Case("The DICOM file is damaged.", _FROM_PACS),
            "no_image": Case("The DICOM file holds no image.", _SEND_CHEST),
        },
    ),
    Rejection.TRUNCATED_IMAGE: Refusal(
        "Incomplete file", "The file ends before its image does, so a part of it is missing.", _RESEND
    ),
    Rejection.DAMAGED_SCAN: Refusal(
        "Damaged pixels", "The compressed pixels are damaged; decoded, a part of the image would be wrong.", _RESEND
    ),
    Rejection.SEVERAL_IMAGES: Refusal(
        "Several images", "The file holds several images, and it is not clear which one to screen.",
        "Save each as a file of its own and send those.",
        {
            "pages": Case("The file holds {count:,} pages, and it is not clear which one to screen."),
            "frames": Case("The file holds {count:,} frames, and it is not clear which one to screen."),
            "pictures": Case("The file holds {count:,} pictures, and it is not clear which one to screen."),
        },
    ),
    Rejection.UNSUPPORTED_FORM: Refusal(
        "Unsupported encoding", "This kind of file cannot be read here. The file itself may be fine.", _TO_PLAIN,
        {
            "tiff_compression": Case("The TIFF is compressed by the method {method}, which cannot be read here."),
            "tiff_deep_compression": Case(
                "The TIFF has {bits} bits a pixel compressed by the method {method}, which cannot be read here."
            ),
            "tiff_samples": Case(
                "The TIFF has {samples} {kind} samples of {bits} bits for each pixel, which cannot be read here."
            ),
            "tiff_planes": Case("The TIFF has {samples} planes of {bits} bits, which cannot be read here."),
            "tiff_predictor": Case(
                "The TIFF has {bits} bits a pixel with the predictor {predictor}, which cannot be read here."
            ),
            "tiff_lab": Case("The TIFF has colours in CIE L*a*b*, which cannot be read here."),
            "tiff_form": Case("The TIFF keeps its pixels in a rare form, which cannot be read here."),
            "tiff_polarity": Case("The TIFF does not say whether black or white is zero."),
            "tiff_preview": Case(
                "The TIFF shows only a reduced copy; its image lies deeper in the file, as in raw files of cameras."
            ),
            "bmp": Case("The BMP has {bits} bits a pixel with {compression}, which cannot be read here."),
            "jpeg_colour": Case("This is a {process} of {bits} bits in colour, which cannot be read here."),
            "jpeg_coding": Case(
                "This is a hierarchical or arithmetic-coded JPEG of {bits} bits, which cannot be read here."
            ),
            "deep_colour": Case(
                "The image has 16 bits for each colour or alpha and uses few of them, so its greys are not clear.",
                "Export the X-ray as 16-bit grey.",
            ),
            "stored_bits": Case(
                "The DICOM file says that its pixels use {bits} bits each, but they use more.", _FROM_PACS
            ),
            "dicom_bits": Case(
                "The DICOM file keeps each pixel in {bits} bits, which cannot be read here.", _FROM_PACS
            ),
            "zip_prefix": Case(
                "This is a ZIP with something in front of it, such as the program of a ZIP that unpacks itself.",
                "Unpack it and send the X-rays, or make a plain ZIP of them.",
            ),
        },
    ),
    Rejection.NO_CONTENT: Refusal(
        "No content", "The image shows nothing that could be an X-ray.",
        "Open it in a viewer. If the X-ray is there, export it again; otherwise leave the file out.",
        {
            "blank": Case("The image is blank: nearly all of it is the same grey."),
            "noise": Case("The image is noise, text or a fine pattern, not an X-ray."),
            "few_greys": Case("The image has few greys, as a drawing or a test pattern has."),
            "plain": Case("The image is a smooth ramp or a row of stripes, not an X-ray."),
        },
    ),
    Rejection.TOO_LARGE: Refusal(
        "File too large", "The file is larger than the limit for one X-ray.",
        "Export the X-ray at its original size and send that.",
        {
            "file": Case("The file is larger than {limit_mib:,} MiB."),
            "unpacked": Case(
                "The DICOM file unpacks to more than {limit_mib:,} MiB.", "Export it uncompressed and send that."
            ),
        },
    ),
    Rejection.TOO_MANY_PIXELS: Refusal(
        "Too many pixels", "The image has more pixels than any X-ray.",
        "Export the X-ray at its original size and send that.",
        {
            "": Case("The image has more pixels than any X-ray."),
            "size": Case("The image has {width:,} x {height:,} pixels; at most {most:,} in all are accepted."),
        },
    ),
    Rejection.TOO_SMALL: Refusal(
        "Too small", "The image has too few pixels to be an X-ray, as a preview or an icon has.",
        "Send the X-ray itself, not its preview.",
        {"": Case("The image has {width:,} x {height:,} pixels; an X-ray has at least {least:,} on each side.")},
    ),
    Rejection.DICOM_UNSUPPORTED: Refusal(
        "DICOM compression", "The DICOM file is compressed in a way that cannot be read here.",
        "Export it uncompressed and send that.",
        {
            "syntax": Case(
                "The DICOM file is compressed in a way that cannot be read here (transfer syntax {syntax})."
            ),
            "jpeg_coding": Case(
                "The image in the DICOM file is an arithmetic-coded or progressive JPEG, which cannot be read here."
            ),
        },
    ),
    Rejection.NOT_A_RADIOGRAPH: Refusal(
        "Not a radiograph", "The DICOM file is not a single X-ray image (CR, DX or RG).", _SEND_CHEST,
        {
            "modality": Case("The modality of the DICOM file is {modality}; that of an X-ray is CR, DX or RG."),
            "not_grey": Case("The DICOM file does not hold one grey image."),
            "directory": Case(
                "This is the table of contents of a disc (DICOMDIR) and holds no image.",
                "Send the files that it names.",
            ),
        },
    ),
    Rejection.NO_LUNGS: Refusal(
        "No lungs found", "No pair of upright lungs was found on the image.",
        "Send the frontal chest X-ray, upright and whole.",
        {"": Case("No pair of upright lungs was found on the image (confidence {confidence:.2f}).")},
    ),
    Rejection.NOT_CHEST: Refusal(
        "Not a chest X-ray", "The image does not look like a frontal chest X-ray.",
        "Send the chest X-ray itself. If this is one, read it yourself.",
        {
            "other": Case("The image does not look like a frontal chest X-ray."),
            "screen": Case(
                "This looks like a screenshot or a photograph of a screen with a chest X-ray in it.",
                "Export the X-ray itself and send that.",
            ),
        },
    ),
    Rejection.NOT_FRONTAL: Refusal(
        "Not frontal", "The view is not frontal.", "Send the frontal X-ray (AP or PA).",
        {
            "seen": Case(
                "The image looks like a lateral view of the chest.",
                "Send the frontal X-ray (AP or PA). If this is one, read it yourself.",
            ),
            "named": Case("The DICOM header says that the view is not frontal ({view})."),
            "coded": Case("The DICOM header says that the view is not frontal."),
        },
    ),
    Rejection.ROTATED: Refusal(
        "Rotated", "The chest lies on its side or is upside down.", "Turn the image upright and send it again.",
        {
            "clockwise": Case(
                "The image lies on its side: it is turned by 90 degrees clockwise.",
                "Turn it 90 degrees anticlockwise and send it again.",
            ),
            "anticlockwise": Case(
                "The image lies on its side: it is turned by 90 degrees anticlockwise.",
                "Turn it 90 degrees clockwise and send it again.",
            ),
            "upside_down": Case("The image is upside down.", "Turn it by 180 degrees and send it again."),
        },
    ),
    Rejection.INVERTED: Refusal(
        "Inverted", "Black and white are swapped: bones are dark.", "Invert the image and send it again."
    ),
    Rejection.CUT_OFF: Refusal(
        "Lungs cut off", "A large part of the lungs is missing from the image.",
        "Send the whole X-ray. If there is none, read this one yourself.",
    ),
    Rejection.TOO_DARK: Refusal(
        "Too dark", "The image is too dark to be read.", "Export it with its normal window settings and send it again."
    ),
    Rejection.TOO_BRIGHT: Refusal(
        "Too bright",
        "The image is too bright to be read.",
        "Export it with its normal window settings and send it again.",
    ),
    Rejection.OUTSIDE_INTENDED_USE: Refusal(
        "Outside intended use", "According to its DICOM header, the model is not made for this image.",
        "Read it yourself, or send it to a model that is made for it.",
        {
            "part": Case("The DICOM header says that this is not a chest (Body Part Examined {part})."),
            "younger": Case(
                "According to the DICOM header, the patient is younger than {youngest} years; the model is made for "
                "{youngest} to {oldest} years."
            ),
            "older": Case(
                "According to the DICOM header, the patient is older than {oldest} years; the model is made for "
                "{youngest} to {oldest} years."
            ),
        },
    ),
    Rejection.IMAGE_MISSING: Refusal("File missing", "The file is no longer in the image store.", "Send it again."),
    Rejection.IMAGE_DAMAGED: Refusal(
        "File damaged", "The file in the image store is damaged or was changed, and is not used.",
        "Send the X-ray again; that replaces the file.",
    ),
    Rejection.ZIP_UNREADABLE: Refusal(
        "Damaged ZIP", "The ZIP is damaged or incomplete.", _REZIP,
        {
            "directory": Case("The ZIP's table of contents is missing or damaged, as where its end was not sent."),
            "unlisted": Case(
                "The ZIP begins with files that its own table of contents does not name, as where two ZIPs were "
                "joined. Those were not read."
            ),
        },
    ),
    Rejection.ZIP_TOO_MANY_ENTRIES: Refusal(
        "Too many files in the ZIP", "The ZIP holds more files than are accepted at once.",
        "Make several smaller ZIPs and send those.",
        {"": Case("The ZIP holds more than the {most:,} files that are accepted at once.")},
    ),
    Rejection.ZIP_TOO_LARGE: Refusal(
        "ZIP too large", "The ZIP would unpack to more than is accepted at once.",
        "Make several smaller ZIPs and send those.",
        {"": Case("The ZIP would unpack to more than {limit_mib:,} MiB.")},
    ),
    Rejection.ZIP_EMPTY: Refusal(
        "Empty ZIP", "The ZIP holds no file that could be an X-ray.", "Add the X-rays and send it again."
    ),
    Rejection.ZIP_ENTRY_BOMB: Refusal(
        "Suspicious file in a ZIP", "The file in the ZIP unpacks to far more than its size, which no X-ray does.",
        "Check where the ZIP comes from, then send the X-ray itself.",
        {"": Case("The file in the ZIP unpacks to {ratio:,} times its size; at most {most:,} times is accepted.")},
    ),
    Rejection.ZIP_ENTRY_ENCRYPTED: Refusal(
        "Protected file in a ZIP", "The file in the ZIP is protected by a password.",
        "Make the ZIP again without a password.",
    ),
    Rejection.ZIP_ENTRY_NESTED: Refusal(
        "ZIP inside a ZIP", "A ZIP inside a ZIP is not opened.", "Unpack it and send the X-rays themselves."
    ),
    Rejection.ZIP_ENTRY_UNSAFE_NAME: Refusal(
        "Unsafe name in a ZIP", "The file's name points outside the ZIP, or the file is a link.",
        "Make the ZIP again from a plain folder.",
    ),
    Rejection.ZIP_ENTRY_DAMAGED: Refusal("Damaged file in a ZIP", "This file of the ZIP cannot be unpacked.", _REZIP),
    Rejection.ZIP_ENTRY_UNSUPPORTED: Refusal(
        "ZIP compression",
        "The file in the ZIP is packed by a method that cannot be read here. The file itself may be fine.",
        "Make the ZIP again with the method Deflate.",
        {"": Case("The file in the ZIP is packed by the method {method}, which cannot be read here.")},
    ),
    Failure.WORKER_LOST: Refusal(
        "Worker lost", "The worker stopped or failed several times while it screened this X-ray.",
        "Try it again (Retry on the job page). If it fails again, tell support.",
        {"": Case("The worker stopped or failed {attempts} times while it screened this X-ray.")},
    ),
    Failure.IMAGE_UNREADABLE: Refusal(
        "File not readable",
        "The file in the image store could not be read in several attempts, while other files could.",
        "Tell support; then try it again (Retry on the job page), or send the X-ray again, which replaces the file.",
        {
            "": Case(
                "The file in the image store could not be read in {attempts} attempts, while other files could."
            )
        },
    ),
}  # fmt: skip
