#!/usr/bin/env python3
"""Writes the training text of the nano model: simple English from a grammar.

Every fact comes from one small fixed world (people, animals, countries, ...), so
a trained model has something to know and a garbled answer is visible. Free
choices are weighted 1 : 1/2 : 1/3 ..., so a greedy continuation has clear winners.
The output depends on the seed only. One JSON string per line, one document per
line; documents carry their special tokens as text.

usage: make_text.py --docs 1000 --seed 1 > text.jsonl
"""

import argparse
import json
import random
import sys

BOS, EOS, ROLE = "]~!b[", "[e~[", "]~b]"

# name, pronouns, job, home, (colour, animal, its name), food, friend, hobby
PEOPLE = [
    ("Mia", "she", "baker", "a small house by the river",
     ("grey", "cat", "Pepper"), "apple pie", "Tom", "painting"),
    ("Tom", "he", "farmer", "an old farm on the hill",
     ("brown", "dog", "Biscuit"), "fresh bread", "Mia", "fishing"),
    ("Anna", "she", "teacher", "a white house near the school",
     ("green", "parrot", "Captain"), "tomato soup", "Leo", "reading"),
    ("Leo", "he", "sailor", "a boat in the harbour",
     ("black", "cat", "Anchor"), "fried fish", "Anna", "singing"),
    ("Ben", "he", "carpenter", "a wooden house in the forest",
     ("red", "fox", "Ember"), "mushroom stew", "Lily", "carving"),
    ("Lily", "she", "gardener", "a cottage behind the church",
     ("white", "rabbit", "Cloud"), "carrot cake", "Ben", "dancing"),
    ("Sam", "he", "postman", "a flat above the bakery",
     ("spotted", "dog", "Stamp"), "cheese sandwiches", "Ruth", "cycling"),
    ("Ruth", "she", "doctor", "a tall house in the city",
     ("orange", "cat", "Ginger"), "honey tea", "Sam", "chess"),
    ("Omar", "he", "cook", "a blue house by the sea",
     ("yellow", "bird", "Lemon"), "rice with beans", "Nina", "swimming"),
    ("Nina", "she", "pilot", "a house near the airport",
     ("silver", "horse", "Comet"), "pancakes", "Omar", "running"),
    ("Paul", "he", "miller", "a windmill in the valley",
     ("grey", "donkey", "Barley"), "oat porridge", "Eva", "whistling"),
    ("Eva", "she", "weaver", "a cabin in the mountains",
     ("white", "goat", "Snow"), "goat cheese", "Paul", "knitting"),
]

# animal, class, sound, food, young, home
ANIMALS = [
    ("cow", "farm animal", "moo", "grass", "calf", "a barn"),
    ("cat", "pet", "meow", "fish", "kitten", "a house"),
    ("dog", "pet", "woof", "meat", "puppy", "a kennel"),
    ("sheep", "farm animal", "baa", "grass", "lamb", "a field"),
    ("duck", "bird", "quack", "bread", "duckling", "a pond"),
    ("horse", "farm animal", "neigh", "hay", "foal", "a stable"),
    ("pig", "farm animal", "oink", "corn", "piglet", "a sty"),
    ("hen", "bird", "cluck", "seeds", "chick", "a coop"),
    ("lion", "wild animal", "roar", "meat", "cub", "the savanna"),
    ("frog", "wild animal", "croak", "flies", "tadpole", "a pond"),
    ("owl", "bird", "hoot", "mice", "owlet", "a tree"),
    ("bee", "insect", "buzz", "nectar", "larva", "a hive"),
]

COUNTRIES = [
    ("France", "Paris"), ("Italy", "Rome"), ("Spain", "Madrid"),
    ("Germany", "Berlin"), ("Japan", "Tokyo"), ("Egypt", "Cairo"),
    ("Norway", "Oslo"), ("Greece", "Athens"), ("China", "Beijing"),
    ("Peru", "Lima"), ("Kenya", "Nairobi"), ("Poland", "Warsaw"),
]

OPPOSITES = [
    ("hot", "cold"), ("big", "small"), ("fast", "slow"), ("day", "night"),
    ("up", "down"), ("left", "right"), ("open", "closed"), ("happy", "sad"),
    ("light", "dark"), ("wet", "dry"), ("full", "empty"), ("old", "young"),
    ("hard", "soft"), ("high", "low"), ("early", "late"), ("near", "far"),
]

# thing, colour
COLOURS = [
    ("grass", "green"), ("snow", "white"), ("coal", "black"),
    ("the sky", "blue"), ("a lemon", "yellow"), ("a tomato", "red"),
    ("a carrot", "orange"), ("chocolate", "brown"), ("a plum", "purple"),
    ("an elephant", "grey"),
]

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = ("January February March April May June July August September "
          "October November December").split()
NUMBERS = ("one two three four five six seven eight nine ten eleven "
           "twelve").split()
PLANETS = "Mercury Venus Earth Mars Jupiter Saturn Uranus Neptune".split()
RAINBOW = "red orange yellow green blue indigo violet".split()
LETTERS = [chr(ord("A") + i) for i in range(26)]
# list, how it is introduced
LISTS = [
    (DAYS, "The days of the week are"),
    (MONTHS, "The months of the year are"),
    (NUMBERS, "Let us count to twelve:"),
    (PLANETS, "The planets are"),
    (RAINBOW, "The colours of the rainbow are"),
    (LETTERS, "The letters of the alphabet are"),
]

RECIPES = {
    "soup": ["cut the vegetables", "boil the water",
             "put the vegetables into the pot", "add a little salt",
             "cook the soup for twenty minutes"],
    "tea": ["boil the water", "put the tea into the cup",
            "pour the hot water", "wait for five minutes", "add some honey"],
    "bread": ["mix flour and water", "add a little salt and yeast",
              "knead the dough", "let it rest for an hour",
              "bake the bread in the oven"],
    "pancakes": ["mix eggs, milk and flour", "heat the pan",
                 "add some butter", "pour in the batter",
                 "turn the pancake over"],
    "salad": ["wash the leaves", "cut the tomatoes",
              "put everything into a bowl", "add oil and vinegar",
              "mix the salad well"],
}

SEASONS = [
    ("spring", "the flowers bloom", "warm", "summer"),
    ("summer", "the sun shines all day", "hot", "autumn"),
    ("autumn", "the leaves fall from the trees", "cool", "winter"),
    ("winter", "the snow covers the fields", "cold", "spring"),
]

PRONOUN = {"she": ("She", "she", "her", "her"), "he": ("He", "he", "his", "him")}
BY_NAME = {p[0]: p for p in PEOPLE}
HOBBY_GOAL = {
    "painting": "paint a picture of the bridge", "fishing": "catch a big fish",
    "reading": "read a long book", "singing": "sing a new song",
    "carving": "carve a wooden spoon", "dancing": "learn a new dance",
    "cycling": "ride to the next village", "chess": "win a game of chess",
    "swimming": "swim across the lake", "running": "run up the hill",
    "whistling": "whistle like a bird", "knitting": "knit a warm scarf",
}
# what is lost, where it is found
LOST = [
    ("key", "under the table"), ("hat", "on top of the cupboard"),
    ("basket", "behind the door"), ("letter", "inside an old book"),
    ("lantern", "in the cellar"), ("umbrella", "next to the well"),
]


def pick(rng, items):
    """One of `items`, the i-th with weight 1/(i+1)."""
    return rng.choices(items, [1 / (i + 1) for i in range(len(items))])[0]


def article(word):
    return ("an " if word[0] in "aeiou" else "a ") + word


def profile(rng):
    name, pro, job, home, (colour, animal, pet), food, friend, hobby = (
        rng.choice(PEOPLE))
    sub, low, pos, _ = PRONOUN[pro]
    text = [f"{name} is {article(job)}.", f"{sub} lives in {home}.",
            f"{name} has {article(colour)} {animal} called {pet}.",
            f"{sub} likes {food} and {hobby}.",
            f"{pos.capitalize()} best friend is {friend}."]
    if rng.random() < 0.5:
        other = BY_NAME[friend]
        text.append(f"{friend} is {article(other[2])} and lives in {other[3]}.")
        text.append(f"{friend} has {article(other[4][0])} {other[4][1]} called "
                    f"{other[4][2]}.")
    return " ".join(text)


def story_lost(rng):
    name, pro, job, home, (colour, animal, pet), food, friend, _ = (
        rng.choice(PEOPLE))
    sub, low, pos, obj = PRONOUN[pro]
    thing, where = pick(rng, LOST)
    opening = pick(rng, ["Once upon a time", "One day", "Long ago"])
    text = [
        f"{opening} there was {article(job)} called {name} who lived in {home}.",
        f"One morning {name} could not find {pos} {thing}.",
        f"{sub} looked in the kitchen, but the {thing} was not there.",
        f"{sub} looked in the garden, but the {thing} was not there.",
        f"Then {name} asked {pos} friend {friend} for help.",
        f"{friend} came at once, and together they looked everywhere.",
        f"At last {pet} the {animal} found the {thing} {where}.",
        f"{name} was very happy and gave {pet} a big hug.",
        f"In the evening they all ate {food}, and everyone was glad.",
    ]
    return " ".join(text)


def story_wish(rng):
    name, pro, job, home, (colour, animal, pet), food, friend, hobby = (
        rng.choice(PEOPLE))
    sub, low, pos, obj = PRONOUN[pro]
    goal = HOBBY_GOAL[hobby]
    opening = pick(rng, ["One day", "Once upon a time", "Last summer"])
    weather = pick(rng, ["sunny", "windy", "rainy"])
    end = {"sunny": "The sun was warm and the birds were singing.",
           "windy": "The wind was strong and the trees were dancing.",
           "rainy": "The rain fell softly and the road was wet."}[weather]
    text = [
        f"{opening} {name} the {job} wanted to {goal}.",
        f"It was a {weather} day.", end,
        f"{sub} took {pos} {animal} {pet} and went to see {friend}.",
        f'"Will you help me?" asked {name}.',
        f'"Of course I will," said {friend}.',
        f"They worked hard until the sun went down.",
        f"Then {name} was tired but proud.",
        f'"Thank you, {friend}," said {name}. "You are a good friend."',
    ]
    return " ".join(text)


def day_plan(rng):
    name, pro, job, home, (colour, animal, pet), food, friend, hobby = (
        rng.choice(PEOPLE))
    sub, low, pos, obj = PRONOUN[pro]
    return " ".join([
        f"In the morning {name} feeds {pet} the {animal}.",
        f"Then {low} goes to work, because {low} is {article(job)}.",
        f"At noon {low} eats {food}.",
        f"In the afternoon {low} meets {pos} friend {friend}.",
        f"In the evening {low} enjoys {hobby}.",
        f"At night {name} sleeps in {home}."])


def animal_facts(rng):
    out = []
    for name, kind, sound, food, young, home in rng.sample(
            ANIMALS, rng.randint(1, 3)):
        out.append(f"{article(name).capitalize()} is {article(kind)}. "
                   f"It says {sound} and eats {food}. "
                   f"A young {name} is called {article(young)}. "
                   f"The {name} lives in {home}.")
    return "\n".join(out)


def sums(rng):
    out = []
    for _ in range(rng.randint(4, 10)):
        if rng.random() < 0.6:
            a, b = rng.randint(0, 10), rng.randint(0, 10)
            out.append(f"{a} + {b} = {a + b}")
        else:
            a = rng.randint(0, 15)
            b = rng.randint(0, a)
            out.append(f"{a} - {b} = {a - b}")
    return "\n".join(out)


def word_sum(rng):
    name, pro, _, _, _, _, friend, _ = rng.choice(PEOPLE)
    thing = pick(rng, ["apples", "eggs", "coins", "books"])
    a, b = rng.randint(1, 9), rng.randint(1, 9)
    sub, low, pos, obj = PRONOUN[pro]
    if rng.random() < 0.5 or b > a:
        return (f"{name} has {a} {thing}. {friend} gives {obj} {b} more. "
                f"{a} + {b} = {a + b}, so now {name} has {a + b} {thing}.")
    return (f"{name} has {a} {thing}. {sub} gives {b} to {friend}. "
            f"{a} - {b} = {a - b}, so now {name} has {a - b} {thing}.")


def opposites(rng):
    out = []
    for a, b in rng.sample(OPPOSITES, rng.randint(2, 5)):
        if rng.random() < 0.4:
            a, b = b, a
        out.append(f"The opposite of {a} is {b}.")
    return " ".join(out)


def capitals(rng):
    return " ".join(f"The capital of {c} is {k}."
                    for c, k in rng.sample(COUNTRIES, rng.randint(2, 5)))


def colours(rng):
    return " ".join(f"{t.capitalize()} is {c}."
                    for t, c in rng.sample(COLOURS, rng.randint(2, 5)))


def lists(rng):
    items, intro = rng.choice(LISTS)
    if rng.random() < 0.6:
        return f"{intro} " + ", ".join(items[:-1]) + f" and {items[-1]}."
    start = rng.randrange(len(items) - 2)
    return ", ".join(items[start:-1]) + f" and {items[-1]}."


def recipe(rng):
    dish = rng.choice(sorted(RECIPES))
    steps = RECIPES[dish]
    lines = [f"How to make {dish}:"]
    lines += [f"{i + 1}. {s.capitalize()}." for i, s in enumerate(steps)]
    lines.append(f"Now the {dish} {'are' if dish.endswith('s') else 'is'} ready.")
    return "\n".join(lines)


def seasons(rng):
    start = rng.randrange(4)
    out = []
    for i in range(rng.randint(1, 4)):
        name, what, feel, after = SEASONS[(start + i) % 4]
        out.append(f"In {name} {what}. The weather is {feel}. "
                   f"After {name} comes {after}.")
    return " ".join(out)


def question(rng):
    """One question and its answer."""
    kind = rng.randrange(8)
    if kind == 0:
        c, k = rng.choice(COUNTRIES)
        return f"What is the capital of {c}?", f"The capital of {c} is {k}."
    if kind == 1:
        a, b = rng.choice(OPPOSITES)
        return f"What is the opposite of {a}?", f"The opposite of {a} is {b}."
    if kind == 2:
        a, b = rng.randint(0, 10), rng.randint(0, 10)
        return f"What is {a} + {b}?", f"{a} + {b} = {a + b}."
    if kind == 3:
        n, _, s, f, _, _ = rng.choice(ANIMALS)
        return f"What does {article(n)} say?", f"{article(n).capitalize()} says {s}."
    if kind == 4:
        n, _, _, _, y, _ = rng.choice(ANIMALS)
        return (f"What is a young {n} called?",
                f"A young {n} is called {article(y)}.")
    if kind == 5:
        t, c = rng.choice(COLOURS)
        return f"What colour is {t}?", f"{t.capitalize()} is {c}."
    p = rng.choice(PEOPLE)
    if kind == 6:
        return f"Where does {p[0]} live?", f"{p[0]} lives in {p[3]}."
    return (f"Who is {p[0]}?",
            f"{p[0]} is {article(p[2])} and the best friend of {p[6]}. "
            f"{p[0]} lives in {p[3]} and has {article(p[4][0])} {p[4][1]} "
            f"called {p[4][2]}.")


def chat(rng):
    text = BOS
    for _ in range(rng.randint(1, 3)):
        q, a = question(rng)
        text += f"{ROLE}user\n{q}{EOS}\n{ROLE}ai\n{a}{EOS}\n"
    return text


KINDS = [
    (story_lost, 14), (story_wish, 14), (profile, 10), (day_plan, 8),
    (chat, 14), (animal_facts, 6), (sums, 8), (word_sum, 5), (opposites, 5),
    (capitals, 4), (colours, 3), (lists, 6), (recipe, 5), (seasons, 4),
]


def documents(count, seed):
    rng = random.Random(seed)
    makers, weights = zip(*KINDS)
    for _ in range(count):
        maker = rng.choices(makers, weights)[0]
        text = maker(rng)
        yield text if maker is chat else text + EOS


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--docs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    for text in documents(args.docs, args.seed):
        sys.stdout.write(json.dumps(text, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
