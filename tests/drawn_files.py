"""Files for tests, written from arrays whose values are known: radiographs with any header, and TIFFs of any form."""

import io
import warnings

import numpy as np
import tifffile
from pydicom import config
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, RLELossless, generate_uid

SIDE = (96, 112)


def picture(side: tuple[int, int] = SIDE, seed: int = 0) -> np.ndarray:
    """Return a smooth picture with fine detail from 0.1 to 0.9, as float64; no symmetry, no two rows alike."""
    y, x = np.mgrid[0 : 1 : side[0] * 1j, 0 : 1 : side[1] * 1j]
    rng = np.random.default_rng(seed)
    waves = sum(
        rng.uniform(0.3, 1) * np.sin(rng.uniform(2, 14) * x + rng.uniform(2, 14) * y + rng.uniform(0, 6))
        for _ in range(7)
    )
    waves += rng.normal(0, 0.05, side)
    return 0.1 + 0.8 * (waves - waves.min()) / (waves.max() - waves.min())


def radiograph(containers: np.ndarray, syntax: str = ExplicitVRLittleEndian, **tags: object) -> bytes:
    """Write a radiograph whose pixel data are an array's bytes; text for a number goes in as it is."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    is_rle = syntax == RLELossless
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if is_rle else syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid(entropy_srcs=["drawn"])
    dataset.Modality, dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "DX", "MONOCHROME2", 1
    dataset.Rows, dataset.Columns = containers.shape
    dataset.BitsAllocated = dataset.BitsStored = containers.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(containers.dtype.kind == "i")
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    dataset.PixelData = containers.astype(containers.dtype.newbyteorder(order)).tobytes()
    dataset["PixelData"].VR = "OW" if containers.dtype.itemsize > 1 else "OB"
    if order == ">":
        tags = {name: _swapped(value) for name, value in tags.items()}
    return _write(dataset, tags, is_rle=is_rle)


def _swapped(value: object) -> object:
    """Return tables as a big-endian file has them: pydicom writes words as they are."""
    for item in value if isinstance(value, list) else []:
        if isinstance(item, Dataset) and "LUTData" in item:
            item.LUTData = np.frombuffer(item.LUTData, "<u2").byteswap().tobytes()
    return value


def _write(dataset: Dataset, tags: dict[str, object], *, is_rle: bool) -> bytes:
    config.settings.writing_validation_mode = config.IGNORE
    config.settings.reading_validation_mode = config.IGNORE
    for name, value in tags.items():
        if value is None:
            del dataset[name]
        elif isinstance(value, str) and dictionary_VR(Tag(name)) in {"DS", "IS"}:
            text = value.encode() + b" " * (len(value) % 2)
            dataset[Tag(name)] = RawDataElement(Tag(name), dictionary_VR(Tag(name)), len(text), text, 0, False, True)
        else:
            setattr(dataset, name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some are ill on purpose
        if is_rle:
            dataset.compress(RLELossless, generate_instance_uid=False)
        out = io.BytesIO()
        dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def lut(entries: np.ndarray, first: int, bits: int) -> Dataset:
    """Return an item of a lookup table sequence with 16-bit entries."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [entries.size % 65_536, first, bits])
    item.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    return item


def tiff(samples: np.ndarray, *, is_white_zero: bool = False, **options: object) -> bytes:
    """Write a grey TIFF whose samples are an array."""
    out = io.BytesIO()
    tifffile.imwrite(out, samples, photometric="miniswhite" if is_white_zero else "minisblack", **options)
    return out.getvalue()
