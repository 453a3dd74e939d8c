"""Where a request comes from, as far as the proxies that the operator trusts tell."""

import ipaddress

from django.conf import settings
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from agentloop.models import Project


def client_address(request: HttpRequest) -> str:
    """The address that limits count by. Of IPv6 the network: one household has as many addresses as it wants."""
    address = request.META.get("REMOTE_ADDR", "")
    if settings.TRUSTED_PROXIES:
        # Each proxy adds whom it spoke to at the right; what stands further left, anybody could have written.
        hops = [hop.strip() for hop in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if hop.strip()]
        address = hops[-min(settings.TRUSTED_PROXIES, len(hops))] if hops else address
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def hashed_address(project: Project, address: str) -> str:
    """Tells one sender from another within a project, and nobody where they are."""
    return salted_hmac(f"agentloop.sender.{project.id}", address, algorithm="sha256").hexdigest()[:32]
