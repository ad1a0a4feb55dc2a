"""How values go on, drawn."""

from __future__ import annotations

from xml.etree import ElementTree

from omni_edge.apps.report.svg import course_plot


def test_every_value_has_a_dot_and_every_course_its_name():
    courses = {"memory": [(0.0, 150.0), (1.0, 151.0), (30.0, 151.0)], "a & b": [(0.5, 3.0), (29.0, 100.0)]}
    drawing = course_plot(courses, "minutes", "MB", "it stays")
    (svg,) = ElementTree.fromstring(drawing)
    circles = [each for each in svg if each.tag == "circle"]
    dots = [each for each in circles if each.get("r") == "2.5"]
    assert (len(dots), len(circles)) == (5, 7)
    texts = {each.text for each in svg if each.tag == "text"}
    assert {"memory", "a & b", "minutes", "MB"} <= texts
    # A larger value stands higher, a later one further right.
    assert float(dots[1].get("cy")) < float(dots[0].get("cy"))
    assert float(dots[2].get("cx")) > float(dots[1].get("cx"))
    assert len({dot.get("class") for dot in dots}) == 2
