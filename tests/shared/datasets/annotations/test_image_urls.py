import pytest

from boxpromptiml.datasets.annotations.image_urls import names_in, pictures_in, task_names


@pytest.mark.parametrize(
    ("address", "names"),
    [
        ("/data/upload/3/1a2b3c4d-a%20b.jpg", ("data/upload/3/1a2b3c4d-a b.jpg", "a b.jpg")),
        ("/data/local-files/?d=set/a.jpg", ("set/a.jpg",)),
        ("s3://bucket/set/a.jpg", ("set/a.jpg",)),
        ("http://[", ()),
        ("", ()),
    ],
)
def test_possible_paths_of_a_url(address, names):
    assert names_in(address) == names


def test_images_shown_by_a_task():
    data = {"text": "a.jpg is it", "left": "a.jpg", "pages": ["b.png", "c.png"], "tags": ["x"], "n": 5, "none": None}
    assert [(p.field, p.place, p.address) for p in pictures_in(data)] == [
        ("left", None, "a.jpg"),
        ("pages", 0, "b.png"),
        ("pages", 1, "c.png"),
    ]
    ours = pictures_in({"image": "/data/local-files/?d=set/a.jpg", "file_name": "a.jpg"})
    assert [picture.field for picture in ours] == ["image"]
    assert task_names({"text": "nothing"}, 7) == ("task 7",)
