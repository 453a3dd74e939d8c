"""Who acts: a member in the dashboard, or a program with a key, perhaps in the name of a reviewer."""

from dataclasses import dataclass

from agentloop.models import ApiKey, Member, Role, Scope

SCOPES_OF_ROLE = {
    Role.OWNER: frozenset(Scope.values),
    Role.REVIEWER: frozenset({Scope.READ.value, Scope.REVIEW.value}),
    Role.VIEWER: frozenset({Scope.READ.value}),
}


@dataclass(frozen=True, slots=True)
class Actor:
    """`ref` is stable and names one actor in claims, annotations and the audit log; `label` is for people."""

    ref: str
    label: str
    scopes: frozenset[str]
    is_member: bool = False

    @property
    def is_owner(self) -> bool:
        return Scope.ADMIN.value in self.scopes

    def may(self, scope: str) -> bool:
        return scope in self.scopes

    def speaking_for(self, reviewer: str) -> "Actor":
        """The same program acting for a named reviewer: two of them on one key never share a claim."""
        name = " ".join(reviewer.split())[:60]
        if self.is_member or not name:
            return self
        return Actor(f"{self.ref}/{name}", name, self.scopes)


SYSTEM = Actor("system", "AgentLoop", frozenset(Scope.values))


def member_actor(member: Member) -> Actor:
    user = member.user
    label = user.get_full_name() or user.email or user.username
    return Actor(f"user:{user.pk}", label, SCOPES_OF_ROLE[Role(member.role)], is_member=True)


def key_actor(key: ApiKey) -> Actor:
    return Actor(f"key:{key.prefix}", key.name, frozenset(key.scopes))
