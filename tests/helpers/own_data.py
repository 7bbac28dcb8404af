"""Data as people have it, made up: pictures in a folder for each class, and a table with words and gaps."""

import numpy as np
from PIL import Image

SHAPES = {
    "disc": lambda x, y, size: np.hypot(x, y) < size,
    "cross": lambda x, y, size: np.minimum(abs(x), abs(y)) < size / 4,
    "stripes": lambda x, y, size: (x + y) // 4 % 2 == 0,
}


def photos(folder, each, sizes=((32, 32),), seed=0):
    """Pictures of shapes in a folder for each class, .jpg, of these sizes in turn."""
    rng = np.random.default_rng(seed)
    for name, inside in SHAPES.items():
        (folder / name).mkdir(parents=True)
        for i in range(each):
            height, width = sizes[i % len(sizes)]
            y, x = np.mgrid[:height, :width] - (np.array([height, width]) * rng.uniform(0.4, 0.6, 2))[:, None, None]
            at = inside(x, y, height / 3)[..., None]
            image = np.where(at, rng.uniform(150, 255, 3), rng.uniform(0, 100, 3)) + rng.normal(
                0, 10, (height, width, 3)
            )
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / name / f"{i:03}.jpg")


def people(path, count, seed=0, labels=True):
    """A table as of a ship's passengers: numbers, words, names in quotes, dates, gaps; who survived."""
    rng = np.random.default_rng(seed)
    lines = [
        "id,survived,class,name,sex,age,fare,port,boarded" if labels else "id,class,name,sex,age,fare,port,boarded"
    ]
    for i in range(count):
        sex, port = rng.choice(["male", "female"]), rng.choice(["Southampton", "Cherbourg", ""])
        rank = rng.choice(["first", "second", "third"])
        age = "" if rng.random() < 0.2 else int(rng.integers(1, 80))
        survived = "yes" if rng.random() < 0.1 + 0.7 * (sex == "female") else "no"
        row = [f'{rank},"Person {i}, Esq.",{sex},{age},{rng.lognormal(3, 1):.2f},{port},1912-04-{1 + i % 28:02}']
        lines.append(",".join([str(i + 1), *([survived] if labels else []), *row]))
    path.write_text("\n".join(lines) + "\n")
