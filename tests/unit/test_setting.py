"""What a run's clients hold and are judged by, when each has a sensor of its own."""

from __future__ import annotations

import numpy as np

from bench.data.fashion_mnist import Dataset
from bench.data.shift import Shift
from bench.experiment.setting import _through_sensors


def test_each_clients_images_are_seen_by_its_own_sensor_and_the_test_set_by_all() -> None:
    generator = np.random.default_rng(3)
    images = generator.integers(-60, 60, (12, 1, 4, 4)).astype(np.int8)
    labels = np.zeros(12, np.uint8)
    dataset = Dataset(images, labels, images[:5], labels[:5], 10)
    shards = [np.array([0, 3, 4]), np.array([1, 2])]
    seen = _through_sensors(dataset, shards, seed=7)
    for client, (shard, test) in enumerate(zip(shards, ([0, 1, 2], [3, 4]), strict=True)):
        sensor = Shift.draw(7, client)
        for found, which in ((seen.train_x, shard), (seen.test_x, test)):
            expected = sensor.apply(images[which].reshape(-1, 4, 4, 1)).reshape(-1, 1, 4, 4)
            np.testing.assert_array_equal(found[which], expected)
    np.testing.assert_array_equal(seen.train_x[5:], images[5:])
    assert (seen.train_x[:5] != images[:5]).any()
    assert (dataset.train_x == images).all(), "the data set itself is left alone"
