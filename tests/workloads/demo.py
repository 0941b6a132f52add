"""A small recommendation service: the workload of `cargo xtask demo`.

It fills about 300 MB within seconds, says so in one line, goes on exchanging what it holds, and
ends by itself after a minute.
"""

import collections
import os
import signal
import threading
import time

import numpy as np

LIFETIME_SECONDS = 60
TICK_SECONDS = 0.05

ITEMS_PER_SHARD = 16_384
SHARDS = 8
FEATURES = 256  # one shard is 16 MiB of float32

CACHED_ANSWERS = 200  # of 256 KiB each
SESSIONS = 150_000
TELEMETRY_BLOCKS = 32  # of 1 MiB each


class ItemEmbeddings:
    """The item vectors, in shards that are reloaded one after the other."""

    def __init__(self, generator):
        self.generator = generator
        self.shards = [self.load_shard() for _ in range(SHARDS)]
        self.oldest = 0

    def load_shard(self):
        return self.generator.random((ITEMS_PER_SHARD, FEATURES), dtype=np.float32)

    def reload_oldest_shard(self):
        self.shards[self.oldest] = self.load_shard()
        self.oldest = (self.oldest + 1) % SHARDS


class AnswerCache:
    """The latest answers, by user: grows to its limit, then drops the oldest."""

    def __init__(self):
        self.answers = collections.OrderedDict()

    def remember(self, user, scores):
        self.answers[user] = np.repeat(scores, 4)
        self.answers.move_to_end(user)
        while len(self.answers) > CACHED_ANSWERS:
            self.answers.popitem(last=False)


class Session:
    """What is known of one visitor: small Python objects."""

    def __init__(self, number):
        self.token = "session-%016d" % number
        self.clicks = [float(number), float(number + 1)]


class SessionTable:
    """Open sessions by number."""

    def __init__(self):
        self.sessions = {}
        self.next_number = 0

    def open_sessions(self, count):
        for number in range(self.next_number, self.next_number + count):
            self.sessions[number] = Session(number)
        self.next_number += count
        self.close_expired_sessions()

    def close_expired_sessions(self):
        for number in range(self.next_number - len(self.sessions), self.next_number - SESSIONS):
            del self.sessions[number]


class Telemetry(threading.Thread):
    """A worker that keeps the latest measurements."""

    def __init__(self):
        super().__init__(name="telemetry", daemon=True)
        self.generator = np.random.default_rng(seed=2)
        self.blocks = collections.deque(maxlen=TELEMETRY_BLOCKS)

    def run(self):
        while True:
            self.collect_latencies()
            time.sleep(TICK_SECONDS)

    def collect_latencies(self):
        latencies = self.generator.standard_exponential(131_072)
        self.blocks.append(np.sort(latencies))


class RecommendationService:
    """Answers requests from the embeddings, and holds what it learned."""

    def __init__(self):
        self.generator = np.random.default_rng(seed=1)
        self.embeddings = ItemEmbeddings(self.generator)
        self.cache = AnswerCache()
        self.sessions = SessionTable()
        self.telemetry = Telemetry()

    def start(self):
        self.sessions.open_sessions(SESSIONS)
        self.telemetry.start()
        for user in range(CACHED_ANSWERS):
            self.handle_request(user)

    def handle_request(self, user):
        shard = self.embeddings.shards[user % SHARDS]
        self.cache.remember(user, self.score_items(shard, user))

    def score_items(self, shard, user):
        profile = shard[user % ITEMS_PER_SHARD]
        return self.normalize(shard @ profile)

    def normalize(self, scores):
        exponentials = np.exp(scores - scores.max())
        return exponentials / exponentials.sum()

    def serve(self, deadline):
        user = CACHED_ANSWERS
        while time.monotonic() < deadline:
            self.handle_request(user)
            self.sessions.open_sessions(1_500)
            if user % 5 == 0:
                self.embeddings.reload_oldest_shard()
            user += 1
            time.sleep(TICK_SECONDS)


def main():
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    deadline = time.monotonic() + LIFETIME_SECONDS
    service = RecommendationService()
    service.start()
    print("serving as process", os.getpid(), flush=True)
    service.serve(deadline)


if __name__ == "__main__":
    main()
