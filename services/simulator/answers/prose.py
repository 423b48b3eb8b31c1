"""Plain text of a wished length, about the request's own words."""

from random import Random

from services.simulator.tokens import text_tokens

SHORTEST_TOPIC = 4
LONGEST_TOPIC = 24
PARAGRAPH_SHARE = 0.2
TOPICS_FROM = 1_500
PHRASE_WORDS = 3

_PUNCTUATION = ".,;:!?()[]{}\"'`*#<>"
_OPENINGS = (
    'Here is what matters about "{topic}".',
    'In short, "{topic}" comes down to a few points.',
    'Taking "{topic}" step by step:',
    'There are several sides to "{topic}".',
)
_SENTENCES = (
    'The words "{topic}" decide it.',
    'Read "{topic}" together with "{other}".',
    'Write down who answers for "{topic}" and until when.',
    'Ask what is meant by "{topic}" before going on; a guess costs more later.',
    'Do not mistake "{other}" for "{topic}".',
    'Begin with "{topic}", and only then turn to "{other}".',
    'If "{other}" changes, come back to "{topic}" and look again.',
    'The exception is "{other}": there the usual rule does not hold.',
    'Nothing here depends on "{other}", so it can wait.',
    'As for "{topic}", the wording given is enough to act on.',
)
_THOUGHTS = (
    'The question is about "{topic}".',
    'I should look at "{topic}" first and then at "{other}".',
    'Nothing more is said about "{other}", so I will not assume it.',
    "The answer should be short and follow the instructions.",
    'Checking "{topic}" against the instructions again.',
)


def prose(topics: list[str], tokens: float, random: Random) -> str:
    """Return sentences of about so many tokens."""
    return _fill(topics, tokens, random, _SENTENCES, opening=random.choice(_OPENINGS))


def thought(topics: list[str], tokens: float, random: Random) -> str:
    """Return what a thinking block holds."""
    return _fill(topics, tokens, random, _THOUGHTS, opening=_THOUGHTS[0])


def sentence(topics: list[str], random: Random) -> str:
    """Return one sentence."""
    return _say(random.choice(_SENTENCES), topics, random)


def topics_of(text: str, random: Random, count: int = 4) -> list[str]:
    """Return a few of the text's own phrases to write about."""
    pool = text[:TOPICS_FROM].split()
    starts = [
        at
        for at, word in enumerate(pool)
        if SHORTEST_TOPIC <= len(word) <= LONGEST_TOPIC and word[0].isalpha()
    ]
    if not starts:
        return ["the request", "the answer"]
    return [_phrase(pool, at) for at in random.choices(starts, k=count)]


def _phrase(pool: list[str], at: int) -> str:
    words = []
    for word in pool[at : at + PHRASE_WORDS]:
        bare = word.strip(_PUNCTUATION)
        if not bare or word[0] in _PUNCTUATION:
            break
        words.append(bare)
        if word[-1] in _PUNCTUATION:
            break
    return " ".join(words) or "the request"


def _fill(
    topics: list[str], tokens: float, random: Random, pool: tuple[str, ...], *, opening: str
) -> str:
    parts = [_say(opening, topics, random)]
    reached = text_tokens(parts[0])
    while reached < tokens:
        part = _say(random.choice(pool), topics, random)
        parts.append(("\n\n" if random.random() < PARAGRAPH_SHARE else " ") + part)
        reached += text_tokens(part) + 1
    return "".join(parts)


def _say(template: str, topics: list[str], random: Random) -> str:
    return template.format(topic=random.choice(topics), other=random.choice(topics))
