"""Everything that the doctor looks for: what each check is called, how much it matters, why, and what to do.

docs/own-data.md has the same table; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from roadbed.data.sources.images import FRAME_TO_8_BITS, MASK_TO_8_BITS

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Check:
    """One thing that is looked for. `finds` is its title, `fix` what to do; IN and OUT stand for a file."""

    id: str
    severity: Severity
    finds: str
    fix: str


_ALL = (
    # How files lie.
    Check(
        "frame-alone",
        "error",
        "frames without a mask",
        "export the missing masks, or remove the frames; --mask-suffix names what masks have at the end of their names",
    ),
    Check("mask-alone", "error", "masks without a frame", "add the missing frames, or remove the masks"),
    Check(
        "name-twice",
        "error",
        "several files of one name, as a.png and a.jpg",
        "keep one of them: nothing says which is meant",
    ),
    Check(
        "name-case",
        "warning",
        "names that differ in upper and lower case alone",
        "rename one: on Windows and macOS the two are one file, and a frame pairs with a mask of exactly its name",
    ),
    Check(
        "file-format",
        "error",
        "files in formats that are not read",
        "convert them to PNG (frames also JPEG), as with `magick IN OUT.png`",
    ),
    Check("link-broken", "error", "links to files that are not there", "mend or remove the links"),
    Check(
        "no-split", "note", "nothing says which frames are for training", "put them in train/ and val/, or list them"
    ),
    Check("split-missing", "error", "frames that belong to no split, or to two", "move, list or remove them"),
    Check(
        "split-empty", "warning", "a split that training needs and that is not there", "hold frames out to choose by"
    ),
    Check(
        "split-sequence",
        "warning",
        "sequences that are in more than one split",
        "give whole sequences to a split: neighbouring frames are near-duplicates, and scores on them flatter",
    ),
    Check("arrangement", "error", "folders that are not arranged as they should be", "arrange them as the text says"),
    # Files.
    Check(
        "file-broken",
        "error",
        "files that cannot be decoded: cut short, damaged, or no images",
        "fetch them again from where they come, or remove the pair",
    ),
    Check(
        "exif-rotation",
        "error",
        "pictures whose EXIF tag says that they are stored turned",
        "turn the pixels, as with `magick IN -auto-orient OUT`, or remove the tag where they are upright already",
    ),
    Check("frame-16-bit", "error", "frames of 16 bits per channel", f"convert them, as with {FRAME_TO_8_BITS}"),
    Check("frame-alpha", "error", "frames with an alpha channel", "drop it, as with `magick IN -alpha off OUT`"),
    Check(
        "frame-mode",
        "error",
        "frames that are not 8-bit RGB: grey, palette or CMYK",
        "convert them, as with `magick IN -type TrueColor PNG24:OUT`",
    ),
    Check(
        "frame-grey",
        "warning",
        "frames without colours among coloured ones",
        "find out where they come from; a night camera's frames want a share in every split, others want to go",
    ),
    Check(
        "frame-few-colours",
        "warning",
        "frames that hold so few colours that they may be masks",
        "look whether masks got among the frames, or both folders were exchanged",
    ),
    Check(
        "frame-flat", "warning", "frames without any contrast: black, white, covered", "remove them with their masks"
    ),
    Check(
        "frame-brightness",
        "warning",
        "frames far darker or brighter than the others",
        "look at them: keep real nights and dazzles, in every split; remove or mend wrong exposures",
    ),
    Check(
        "frame-tiny", "warning", "frames with a side below 96 pixels", "use the originals: small ones hold no detail"
    ),
    Check(
        "size-mixed",
        "note",
        "frames of several sizes",
        "fine if they are meant; odd ones out are often thumbnails, or exports of another version",
    ),
    # Masks.
    Check(
        "mask-16-bit",
        "error",
        "masks of 16 bits",
        f"keep the values, if none is above 255, and store 8 bits, in Python: {MASK_TO_8_BITS}; "
        "`-depth 8` of magick would divide ids by 257",
    ),
    Check(
        "mask-channels",
        "error",
        "masks with more channels than ids need",
        "store one channel, as with `magick IN -alpha off -channel R -separate OUT`",
    ),
    Check(
        "mask-kind",
        "error",
        "colours where ids are expected, or ids where colours are",
        "write `masks: colors` with a color for every class, or `masks: ids`, in classes.yaml",
    ),
    Check(
        "mask-photo",
        "error",
        "masks that hold a photograph",
        "look whether frames got among the masks",
    ),
    Check(
        "mask-lossy",
        "error",
        "masks in JPEG or another format that changes values",
        "export masks as PNG from their source: values that JPEG has changed cannot be told back for sure",
    ),
    Check(
        "mask-blended",
        "error",
        "values between classes along their borders: smoothed, or resized with interpolation",
        "export without anti-aliasing, and resize masks by the nearest pixel (cv2.INTER_NEAREST_EXACT)",
    ),
    Check(
        "mask-unknown",
        "error",
        "ids or colours that are no class's",
        "name them in classes.yaml: under the ids or colors of a class, or of `ignore`",
    ),
    Check(
        "mask-palette",
        "error",
        "palettes that give one number different colours",
        "the numbers of such files mean different classes: write `masks: colors` in classes.yaml, or export with one "
        "palette for all",
    ),
    Check("mask-empty", "warning", "masks without a labelled pixel", "label them, or remove the pairs"),
    Check(
        "mask-one-class",
        "warning",
        "masks with a single class from edge to edge",
        "look at them: often an export without its labels, filled with the first class",
    ),
    Check(
        "mask-void",
        "warning",
        "masks with far more unlabelled pixels than the others",
        "label the rest, or remove the pairs",
    ),
    Check(
        "void-share",
        "warning",
        "splits in which most pixels are unlabelled",
        "label more, or check what `ignore` holds",
    ),
    Check(
        "mask-speckle",
        "warning",
        "masks strewn with single pixels",
        "export again without JPEG or dithering, or clean with cv2.medianBlur(mask, 3)",
    ),
    # Pairs.
    Check(
        "size-mismatch",
        "error",
        "masks of another size than their frames",
        "export masks at the frames' size; resize by the nearest pixel only where the two show the same view",
    ),
    Check(
        "mask-shifted",
        "warning",
        "masks that lie beside what they label",
        "look for a crop or a border that only one of the two has, and move the masks back",
    ),
    Check(
        "split-shifted",
        "warning",
        "a split whose masks lie beside what they label, all by the same way",
        "look for a crop, border or resize that only frames or only masks got, and export them again",
    ),
    Check("mask-mirrored", "warning", "masks that fit their frame mirrored or upside down", "mirror them back"),
    Check(
        "mask-swapped",
        "warning",
        "masks that fit another frame better than their own",
        "look at the numbering: names that pair wrongly put every label beside its thing",
    ),
    Check(
        "mask-misfit", "warning", "masks whose borders follow no edge of their frame", "look whether the pair is one"
    ),
    # Across the dataset.
    Check(
        "duplicate-split",
        "error",
        "the same frame in more than one split",
        "keep it in one: scores on frames that were trained on say nothing",
    ),
    Check(
        "near-duplicate",
        "warning",
        "frames of one split that are nearly those of another",
        "split by whole sequences, as `--val-share` does, or remove the frames at the border",
    ),
    Check("duplicate", "warning", "the same frame twice in a split", "remove one of the two"),
    Check(
        "labels-differ",
        "warning",
        "the same frame with different masks",
        "keep the mask that is right",
    ),
    Check(
        "class-absent",
        "warning",
        "classes that no pixel for training has",
        "label some, move frames that have them to train, or take the class out of classes.yaml",
    ),
    Check(
        "class-rare",
        "warning",
        "classes with next to no pixels for training",
        "add frames that have them, paste them into others (data.paste_probability), or join them with another class",
    ),
    Check(
        "class-unscored",
        "note",
        "classes that training has and that a split to score by has not",
        "their IoU will not be told; move a sequence that has them, or know it",
    ),
    Check(
        "class-shift",
        "note",
        "splits in which classes take quite other shares of the pixels",
        "fine if the splits are meant to differ; else deal the sequences out anew (--split-seed)",
    ),
)

CHECKS: Mapping[str, Check] = {check.id: check for check in _ALL}
