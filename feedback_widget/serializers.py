"""The shapes of the widget's API."""

from typing import Any

from rest_framework import serializers as s


class LinksIn(s.Serializer[Any]):
    turn_ids = s.ListField(child=s.CharField(max_length=200), max_length=500, help_text="Up to 500 turns.")


class LinkOut(s.Serializer[Any]):
    """One turn's link, or why it has none."""

    turn_id = s.CharField()
    feedback_url = s.CharField(required=False)
    error = s.CharField(required=False)
    code = s.CharField(required=False)


class LinksOut(s.Serializer[Any]):
    feedback_urls = LinkOut(many=True)


class RemovalIn(s.Serializer[Any]):
    """What is said narrows: an answer is removed when it meets all of it."""

    annotation_ids = s.ListField(child=s.CharField(max_length=200), max_length=500, required=False)
    same_sender_as = s.CharField(
        max_length=200, required=False, help_text="An annotation: all answers from the address it came from."
    )
    user_id = s.CharField(max_length=300, required=False)
    since = s.DateTimeField(required=False)
    until = s.DateTimeField(required=False)
    dry_run = s.BooleanField(default=False, help_text="Only count.")


class RemovalOut(s.Serializer[Any]):
    matching = s.IntegerField()
    removed = s.IntegerField()
    left = s.IntegerField(help_text="Send the same again until none is left.")
