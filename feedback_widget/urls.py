"""The widget's paths. `pages` and `api` stand at the root and below `/p/<project>/`; `owners` are people signed in."""

from django.urls import path

from feedback_widget import answers_page, demo, settings_page, views
from feedback_widget import api as programs

pages = [
    path("f/<path:token>", views.short, name="feedback_short"),
    path("feedback", views.published, name="feedback"),
]
api = [
    path("v1/feedback-urls", programs.FeedbackUrlsView.as_view(), name="feedback_urls"),
    path("v1/feedback/removals", programs.FeedbackRemovalView.as_view(), name="feedback_removals"),
]
owners = [
    path("widget-demo/", demo.demo_of_own, name="own_widget_demo"),
    path("p/<slug:project>/widget-demo/", demo.demo, name="widget_demo"),
    path("p/<slug:project>/settings/widget/", settings_page.widget_settings, name="settings_widget"),
    path("p/<slug:project>/settings/widget/preview/", settings_page.preview, name="settings_widget_preview"),
    path("p/<slug:project>/settings/widget/answers/", answers_page.answers, name="settings_widget_answers"),
    path("p/<slug:project>/settings/widget/answers/remove/", answers_page.remove, name="settings_widget_remove"),
]
