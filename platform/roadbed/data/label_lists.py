"""Label spaces that masks come in, by what stands in their files: Pascal VOC's palette and COCO-Stuff's numbers.

Lists of names alone; labels.py has the label spaces that roadbed reads by itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from roadbed.data.labels import Color

# Everingham et al., The Pascal Visual Object Classes Challenge, VOC2012: numbers 0..20, and 255 along borders.
VOC_NAMES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)

# COCO-Stuff (Caesar et al., CVPR 2018): number N of its pixel maps is label N+1 of its list, 255 is unlabelled. A dash
# stands for the 11 numbers of things that COCO's 2017 annotations do not have.
_COCO_STUFF = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, -, stop sign, parking
meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, -, backpack, umbrella, -, -, handbag,
tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis
racket, bottle, -, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot
dog, pizza, donut, cake, chair, couch, potted plant, bed, -, dining table, -, -, toilet, -, tv, laptop, mouse, remote,
keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, -, book, clock, vase, scissors, teddy bear, hair
drier, toothbrush, -, banner, blanket, branch, bridge, building-other, bush, cabinet, cage, cardboard, carpet,
ceiling-other, ceiling-tile, cloth, clothes, clouds, counter, cupboard, curtain, desk-stuff, dirt, door-stuff, fence,
floor-marble, floor-other, floor-stone, floor-tile, floor-wood, flower, fog, food-other, fruit, furniture-other, grass,
gravel, ground-other, hill, house, leaves, light, mat, metal, mirror-stuff, moss, mountain, mud, napkin, net, paper,
pavement, pillow, plant-other, plastic, platform, playingfield, railing, railroad, river, road, rock, roof, rug, salad,
sand, sea, shelf, sky-other, skyscraper, snow, solid-other, stairs, stone, straw, structural-other, table, tent,
textile-other, towel, tree, vegetable, wall-brick, wall-concrete, wall-other, wall-panel, wall-stone, wall-tile,
wall-wood, water-other, waterdrops, window-blind, window-other, wood
"""
COCO_STUFF_NAMES: Mapping[int, str] = {
    number: name for number, name in enumerate(" ".join(_COCO_STUFF.split()).split(", ")) if name != "-"
}
# Things end here; what is above is stuff.
COCO_LAST_THING = 90


def voc_color(number: int) -> Color:
    """Color `number` of the VOC development kit's map: the bits of the number, dealt to red, green and blue in turn."""
    color = [0, 0, 0]
    for position in range(8):
        for channel in range(3):
            color[channel] |= (number >> 3 * position + channel & 1) << 7 - position
    return color[0], color[1], color[2]
