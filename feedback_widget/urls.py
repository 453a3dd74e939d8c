"""The widget's paths. `pages` and `api` stand at the root and below `/p/<project>/`."""

from django.urls import path

from feedback_widget import api as programs
from feedback_widget import demo, views

pages = [
    path("f/<path:token>", views.short, name="feedback_short"),
    path("feedback", views.published, name="feedback"),
]
api = [
    path("v1/feedback-urls", programs.FeedbackUrlsView.as_view(), name="feedback_urls"),
    path("v1/feedback/removals", programs.FeedbackRemovalView.as_view(), name="feedback_removals"),
]
demos = [
    path("widget-demo/", demo.demo_of_own, name="own_widget_demo"),
    path("p/<slug:project>/widget-demo/", demo.demo, name="widget_demo"),
]
