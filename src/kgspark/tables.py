"""Names and columns of the tables, once; the file format of each is on README's page “Tables and files”."""

RATINGS, MOVIES, USERS, TAGS, QUARANTINE = "ratings", "movies", "users", "tags", "quarantine"
ENTITIES, TRIPLES = "entities", "triples"
MODEL, SEARCH_SPACE = "model", "search_space"
SEGMENTS, CANDIDATES = "segments", "candidates"
RECOMMENDATIONS, AUDIENCES, PUBLISHED = "recommendations", "audiences", "published"

# Which stage writes a table: what to run where one is missing.
WRITTEN_BY = {
    **dict.fromkeys((RATINGS, MOVIES, USERS, TAGS, QUARANTINE), "clean-ratings"),
    ENTITIES: "index-entities",
    TRIPLES: "write-triples",
    **dict.fromkeys((MODEL, SEARCH_SPACE), "train-embeddings"),
    **dict.fromkeys((SEGMENTS, CANDIDATES, RECOMMENDATIONS, AUDIENCES), "recommend"),
    PUBLISHED: "publish",
}


class Columns:
    """Names of the tables' columns. Outside ids end in `_id`; what counts inside is `index` or `position`.

    INDEX     number of an entity over all kinds, from 0 (tables entities and triples)
    POSITION  number of a user or movie inside its kind, from 0 (segments, candidates, the stream of queries)
    """

    USER_ID, MOVIE_ID, RATING, TIMESTAMP = "user_id", "movie_id", "rating", "timestamp"
    TITLE, YEAR, GENRES, TAG = "title", "year", "genres", "tag"
    INDEX, KIND, EXTERNAL_ID = "index", "kind", "external_id"
    HEAD, RELATION, TAIL, SPLIT, WEIGHT = "head", "relation", "tail", "split", "weight"
    POSITION, SEGMENT = "position", "segment"
    RANK, SCORE, SOURCE, REASON, MODEL_ID, DS = "rank", "score", "source", "reason_movie_id", "model_id", "ds"


# The names of the splits in the triples table.
TRAIN, VALID, TEST = "train", "valid", "test"

# Where a ranked row's vectors came from: likes, or facts where there are none (a user's gender, a movie's genre), or
# the average user's likes where there is nothing else. A row has the weaker of its two vectors' sources.
SOURCES = (AVERAGE, FACTS, LEARNED) = ("average", "facts", "model")
