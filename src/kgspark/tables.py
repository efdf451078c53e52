"""Names, keys and columns of the tables, each written once. The docs' page “Tables and files” shows their formats."""

RATINGS, MOVIES, USERS, TAGS = "ratings", "movies", "users", "tags"
QUARANTINE, SEEN, REFUSED_PAIRS = "quarantine", "seen", "refused_pairs"
ENTITIES, TRIPLES = "entities", "triples"
MODEL = "model"
SEARCH_SPACE, AUDIENCE_SPACE, SIMILAR_SPACE = "search_space", "audience_space", "similar_space"
SEGMENTS, CANDIDATES, RULES = "segments", "candidates", "rules"
RECOMMENDATIONS, AUDIENCES, SIMILAR_ITEMS = "recommendations", "audiences", "similar_items"
USER_VECTORS, MOVIE_VECTORS = "user_vectors", "movie_vectors"
PUBLISHED = "published"
# In the folder of a publication: a line of JSON per check of the audit.
AUDIT_FILE = "audit.jsonl"

# The tables of the source after cleaning, and those that are derived from the ratings for relations.
CLEAN = (RATINGS, MOVIES, USERS, TAGS)
CO_WATCHED = "co_watched"
# The tables that a night may publish: ranked ones, and the vectors that recommendations are ranked by.
RANKED = (RECOMMENDATIONS, AUDIENCES, SIMILAR_ITEMS)
VECTORS = (USER_VECTORS, MOVIE_VECTORS)
PUBLISHABLE = (*RANKED, *VECTORS)

# The stage that writes each table, for the error about a missing table.
WRITTEN_BY = {
    **dict.fromkeys((RATINGS, MOVIES, USERS, TAGS, QUARANTINE, SEEN, REFUSED_PAIRS), "clean-ratings"),
    ENTITIES: "index-entities",
    TRIPLES: "write-triples",
    **dict.fromkeys((MODEL, SEARCH_SPACE, AUDIENCE_SPACE, SIMILAR_SPACE), "train-embeddings"),
    **dict.fromkeys((SEGMENTS, CANDIDATES, RULES, *RANKED), "recommend"),
    **dict.fromkeys(VECTORS, "write-vectors"),
    PUBLISHED: "publish",
}

# Tables whose files are read as a whole. One wrong byte in them changes every result, so they are always compared with
# their checksums.
READ_WHOLE = (TRIPLES, MODEL, SEARCH_SPACE, AUDIENCE_SPACE, SIMILAR_SPACE)

# The search space that each ranked table is ranked with.
RANKED_WITH = {RECOMMENDATIONS: SEARCH_SPACE, AUDIENCES: AUDIENCE_SPACE, SIMILAR_ITEMS: SIMILAR_SPACE}


class Columns:
    """Names of the tables' columns. Ids of the source end in `_id`; our own numbers are `index` and `position`.

    INDEX     number of an entity over all kinds, from 0 (tables entities and triples)
    POSITION  number of a user or movie inside its kind, from 0 (segments, candidates, the stream of queries)
    """

    USER_ID, MOVIE_ID, RATING, TIMESTAMP = "user_id", "movie_id", "rating", "timestamp"
    EVENT, EVENTS = "event", "events"
    TITLE, YEAR, GENRES, TAG = "title", "year", "genres", "tag"
    INDEX, KIND, EXTERNAL_ID = "index", "kind", "external_id"
    HEAD, RELATION, TAIL, SPLIT, WEIGHT = "head", "relation", "tail", "split", "weight"
    OTHER_MOVIE_ID, USERS = "other_movie_id", "users"
    LIKES = "likes"
    AGE_DAYS = "age_days"
    POSITION, SEGMENT = "position", "segment"
    PLACE, BOOSTS, GROUPS = "place", "boosts", "groups"
    RANK, SCORE, SOURCE, REASON, MODEL_ID, DS = "rank", "score", "source", "reason_movie_id", "model_id", "ds"
    REASON_RELATION, REASON_ENTITY, REASON_TEXT = "reason_relation", "reason_entity", "reason_text"
    SIMILAR = "similar_movie_id"
    VECTOR = "vector"


# Primary keys of the clean tables; tags have none.
KEYS = {
    RATINGS: (Columns.USER_ID, Columns.MOVIE_ID),
    MOVIES: (Columns.MOVIE_ID,),
    USERS: (Columns.USER_ID,),
}

# The names of the splits in the triples table.
TRAIN, VALID, TEST = "train", "valid", "test"

# The key in the details of a published table: what the table and its columns hold (see `published_schemas.described`).
DESCRIBED = "described"

# The key in the details of a model that was not trained in its night: the night that it is of, and what is new since.
SERVED = "served"

# The sources of a vector: trained on likes; or computed from what is known without training (the likes of a user who
# arrived after it; without likes, a user's gender, a movie's genre); or, without all of these, the average. A ranked
# row has the weaker source of its two vectors.
SOURCES = (AVERAGE, FACTS, LEARNED) = ("average", "facts", "model")
# The sources of a row that no vector ranked: the popular movies of the user's segment, or of all users.
POPULAR_SOURCES = (POPULAR_IN_SEGMENT, POPULAR) = ("popular_in_segment", "popular")
# The sources of a row that a business rule has placed: a movie that is pinned, or one with few ratings.
PLACED_SOURCES = (PINNED, EXPLORED) = ("pinned", "explored")
ROW_SOURCES = (*SOURCES, *POPULAR_SOURCES, *PLACED_SOURCES)
