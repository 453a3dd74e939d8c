"""Fields of the JSON APIs that say more than the framework's own."""

from typing import Any, NoReturn

from rest_framework import serializers


class Choice(serializers.ChoiceField):
    """One of a few words; who sends another one is told which there are."""

    def fail(self, key: str, **known: Any) -> NoReturn:
        if key == "invalid_choice":
            words = ", ".join(str(word) for word in self.choices if word != "")
            raise serializers.ValidationError(f'"{known["input"]}" is none of {words}.', code=key)
        super().fail(key, **known)
