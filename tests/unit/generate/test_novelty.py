"""Novelty: scores against the definition, decisions at the threshold, exact duplicates."""

from random import Random

from packtrain.generate.novelty import Pool, tokens


def reference(candidate: str, other: str) -> float:
    """ROUGE-L F by the textbook table, with the operations of rouge_score in its order."""
    a, b = tokens(candidate), tokens(other)
    if not a or not b:
        return 0.0
    row = [0] * (len(b) + 1)
    for left in a:
        diagonal = 0
        for column, right in enumerate(b, start=1):
            above = row[column]
            row[column] = diagonal + 1 if left == right else max(above, row[column - 1])
            diagonal = above
    recall, precision = row[-1] / len(a), row[-1] / len(b)
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def test_scores_are_those_of_the_definition_to_the_bit() -> None:
    random = Random(7)
    words = [f"w{number}" for number in range(12)]
    pool, texts = Pool(), []
    for _ in range(120):
        text = " ".join(random.choices(words, k=random.randint(0, 30)))
        similarity = pool.compare(text)
        assert similarity.scores.tolist() == [reference(text, other) for other in texts]
        pool.add(text)
        texts.append(text)
    assert len(pool) == 120


def test_token_numbers_pass_over_the_surrogates() -> None:
    pool = Pool([" ".join(f"w{number}" for number in range(0xD7F0, 0xD810))])
    pool = Pool(f"t{number}" for number in range(0xD7F0))
    for number in range(40):
        pool.add(f"x{number} y{number}")
    assert pool.compare("x30 y30").highest == 1.0
    assert pool.compare("x30 z").highest == 0.5


def test_a_score_equal_to_the_threshold_passes() -> None:
    pool = Pool(["a b c d e f g h i j"])
    assert pool.compare("a b c d e f g k l m").highest == 0.7
    assert pool.too_similar("a b c d e f g k l m", 0.7) is None
    assert pool.too_similar("a b c d e f g h l m", 0.7) == "0.800 with: a b c d e f g h i j"


def test_threshold_of_one_drops_exact_duplicates_alone() -> None:
    pool = Pool(["Add 2 and 3.", "加一", "Sort b a"])
    assert pool.too_similar("add 2, and 3", 1.0)
    assert pool.too_similar("Add 3 and 2.", 1.0) is None
    assert pool.too_similar("加一", 1.0)
    assert pool.too_similar("加二", 1.0) is None
    assert pool.too_similar("Sort a b", 2.0) is None


def test_text_without_tokens_resembles_nothing_as_in_the_original() -> None:
    pool = Pool(["加一", "a b"])
    assert pool.compare("加一").highest == 0.0
    assert pool.too_similar("加一", 0.7) is None


def test_most_similar_and_average() -> None:
    pool = Pool(["a b", "a c", "x y", "a b"])
    similarity = pool.compare("a b")
    assert similarity.most_similar(3) == {"a b": 1.0, "a c": 0.5}
    assert similarity.average == 2.5 / 4
    assert (Pool().compare("a").highest, Pool().compare("a").average, Pool().compare("a").most_similar()) == (0, 0, {})
    assert Pool().too_similar("a", 0.7) is None
