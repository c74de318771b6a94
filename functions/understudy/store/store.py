"""The store: every persistence port of the services, in terms of a table."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from decimal import ROUND_CEILING, Decimal

from understudy.control.versions import Pointer, Version, plain, version_from
from understudy.errors import Conflict, StoreError
from understudy.health.item import Health, health_from
from understudy.health.observation import Observation
from understudy.health.status_page import StatusPage, status_page_from
from understudy.incidents.incident import Incident, incident_from
from understudy.keys import ClientKey, key_from
from understudy.pricing.ledger import day_of
from understudy.store import keys
from understudy.store.audit import AuditItems
from understudy.store.ledger import NANO, Ledger
from understudy.store.table import Item
from understudy.store_ports import Answer, Kept, Probing, Rota, Snapshot, Stream, Use

MINUTE = 60
MOST_OVER = 20
"""Counters of minutes that are over, at which they are taken out of their item."""
RUN_TRIES = 8
"""Times that a run is tried to be taken after losing to another stream's."""


class Store(Ledger, AuditItems):
    """See `understudy.ports`: control, health, detectors, observations, probing, status pages, client keys and their
    use, incidents, notices, keepsakes, answers, snapshots, the ledger, the audit."""

    # control document

    def pointer(self) -> Pointer | None:
        item = self._table.get(keys.pointer())
        return _pointer(item) if item else None

    def version(self, number: int) -> Version:
        item = self._table.get(keys.version(number))
        if item is None:
            raise StoreError(f"there is no version {number} of the control document")
        return version_from(item.body)

    def versions(self, limit: int) -> Sequence[Version]:
        found = self._table.query(keys.CONTROL, prefix=keys.VERSION, limit=limit, newest=True)
        return [version_from(item.body) for item in found]

    def add_version(self, version: Version) -> None:
        self._table.put(Item(keys.version(version.number), plain(version), rev=1), seen=0)

    def move_pointer(self, pointer: Pointer, expected: Pointer | None) -> None:
        self._table.put(Item(keys.pointer(), asdict(pointer), rev=pointer.rev), seen=expected.rev if expected else 0)

    # health

    def health(self, targets: Sequence[str]) -> Mapping[str, Health]:
        found = {name: self._table.get(keys.health(name)) for name in targets}
        return {name: health_from(item.body, item.rev) for name, item in found.items() if item}

    def put_health(self, health: Health) -> Health:
        written = replace(health, rev=health.rev + 1)
        self._table.put(Item(keys.health(health.target), written.plain(), rev=written.rev), seen=health.rev)
        return written

    def add_observation(self, observation: Observation) -> None:
        key = keys.observation(observation.target, observation.at, secrets.token_hex(6))
        self._table.put(Item(key, observation.plain(), ttl=observation.at + keys.OBSERVATION_TTL))

    # detectors

    def detectors(self, target: str, streams: Sequence[Stream]) -> Mapping[Stream, Kept]:
        wanted = {keys.detector(target, *stream): stream for stream in streams}
        found = self._table.batch(list(wanted)) if wanted else {}
        return {wanted[key]: Kept(item.body, item.rev) for key, item in found.items()}

    def detector(self, target: str, stream: Stream) -> Kept | None:
        item = self._table.get(keys.detector(target, *stream))
        return Kept(item.body, item.rev) if item else None

    def streams(self, target: str) -> Sequence[Stream]:
        found = self._table.query(keys.target(target), prefix=keys.DETECTOR)
        names = (item.key[1].removeprefix(keys.DETECTOR).rpartition("#") for item in found)
        return [(stream, kind) for stream, _, kind in names]

    def put_detector(self, target: str, stream: Stream, kept: Kept, now: float) -> None:
        item = Item(keys.detector(target, *stream), kept.plain, rev=kept.rev + 1, ttl=now + keys.DETECTOR_TTL)
        self._table.put(item, seen=kept.rev)

    # probing

    def probing(self, targets: Sequence[str], now: float) -> Mapping[str, Probing]:
        day = day_of(now)
        wanted = [(keys.health(name), keys.probing(name), keys.spend(name, day)) for name in targets]
        found = self._table.batch([key for three in wanted for key in three])
        return {name: _probing(*map(found.get, three)) for name, three in zip(targets, wanted, strict=True)}

    def take_run(self, target: str, stream: str, before: Rota, after: Rota) -> bool:
        for _ in range(RUN_TRIES):
            item = self._table.get(keys.probing(target))
            rotas, rev = _rotas(item), item.rev if item else 0
            known = rotas.get(stream, Rota())
            # A run and a confirmation of one stream move different parts of it, and neither takes the other's place.
            moved = {name: value for name, value in asdict(after).items() if value != getattr(before, name)}
            if any(getattr(known, name) != getattr(before, name) for name in moved):
                return False
            body = {"rotas": {name: asdict(one) for name, one in {**rotas, stream: replace(known, **moved)}.items()}}
            try:
                self._table.put(Item(keys.probing(target), body, rev=rev + 1), seen=rev)
            except Conflict:
                # The streams of a target share the item; another one's run says nothing about this one.
                continue
            return True
        raise Conflict(f"the runs of {target} changed {RUN_TRIES} times while one was being taken")

    def spend(self, target: str, amounts: Mapping[str, Decimal], now: float) -> None:
        # Counters are whole numbers: thousand millionths of a dollar, rounded up.
        whole = {kind: int((usd / NANO).to_integral_value(ROUND_CEILING)) for kind, usd in amounts.items()}
        self._table.add(keys.spend(target, day_of(now)), whole, ttl=now + keys.SPEND_TTL)

    # status pages

    def status_page(self, provider: str) -> StatusPage | None:
        item = self._table.get(keys.status_page(provider))
        return status_page_from(item.body, item.rev) if item else None

    def put_status_page(self, page: StatusPage) -> StatusPage:
        written = replace(page, rev=page.rev + 1)
        expires = page.asked_at + keys.STATUS_PAGE_TTL
        item = Item(keys.status_page(page.provider), written.plain(), rev=written.rev, ttl=expires)
        self._table.put(item, seen=page.rev)
        return written

    # client keys

    def key(self, key_hash: str) -> ClientKey | None:
        item = self._table.get(keys.client_key(key_hash))
        return _key(item) if item else None

    def put_key(self, key: ClientKey) -> ClientKey:
        written = replace(key, rev=key.rev + 1)
        self._table.put(Item(keys.client_key(key.hash), written.plain(), rev=written.rev), seen=key.rev)
        return written

    def client_keys(self) -> Sequence[ClientKey]:
        return [_key(item) for item in self._table.query(keys.KEYS)]

    def take(
        self,
        account: str,
        now: float,
        *,
        requests: int = 0,
        tokens: int = 0,
        lease: float | None = None,
        returned: float | None = None,
    ) -> Use:
        key, minute = keys.use(account), int(now // MINUTE)
        amounts = {f"requests#{minute}": requests, f"tokens#{minute}": tokens}
        amounts |= {f"leases#{int(end // MINUTE)}": by for end, by in ((lease, 1), (returned, -1)) if end is not None}
        sums = self._table.add(key, {n: by for n, by in amounts.items() if by}, ttl=now + keys.USE_TTL)
        # Clocks differ by seconds: what has just ended may still be somebody's present.
        over = {name: count for name, count in sums.items() if int(name.partition("#")[2]) < minute - 1}
        if len(over) >= MOST_OVER:
            self._table.forget(key, over)
        return _use(sums, minute)

    def use(self, account: str, now: float) -> Use:
        item = self._table.get(keys.use(account))
        return _use(item.body if item else {}, int(now // MINUTE))

    # incidents and notices

    def incident(self, subject: str, kind: str) -> Incident | None:
        item = self._table.get(keys.incident(subject, kind))
        return incident_from(item.body, item.rev) if item else None

    def incidents(self) -> Sequence[Incident]:
        return [incident_from(item.body, item.rev) for item in self._table.query(keys.INCIDENT)]

    def put_incident(self, incident: Incident) -> Incident:
        written = replace(incident, rev=incident.rev + 1)
        key = keys.incident(incident.subject, incident.kind)
        if written.status == "resolved":
            # History comes first: once the incident itself is resolved, nobody would try to write it again.
            past = keys.history(incident.subject, incident.kind, incident.opened_at)
            self._table.put(Item(past, written.plain(), rev=written.rev))
        self._table.put(Item(key, written.plain(), rev=written.rev), seen=incident.rev)
        return written

    def claim(self, notice_id: str, now: float, lease: float) -> bool:
        item = self._table.get(keys.notice(notice_id))
        if item is not None and item.body["told_at"] is not None:
            return False
        if item is not None and now < item.body["claimed_at"] + lease:
            raise Conflict(f"notice {notice_id} is being told by somebody else")
        self._put_notice(notice_id, claimed_at=now, told_at=None, seen=item.rev if item else 0)
        return True

    def settle(self, notice_id: str, now: float) -> None:
        self._put_notice(notice_id, claimed_at=now, told_at=now, seen=None)

    def release(self, notice_id: str) -> None:
        self._table.delete(keys.notice(notice_id))

    def _put_notice(self, notice_id: str, *, claimed_at: float, told_at: float | None, seen: int | None) -> None:
        body = {"claimed_at": claimed_at, "told_at": told_at}
        # Drawn, not counted: a claim that was settled, or given back and taken again, must not look like the one seen.
        rev = secrets.randbits(60) + 1
        self._table.put(Item(keys.notice(notice_id), body, rev=rev, ttl=claimed_at + keys.NOTICE_TTL), seen=seen)

    # signatures of tool calls

    def keep(self, key_hash: str, signatures: Mapping[str, str], now: float) -> None:
        for call_id, signature in signatures.items():
            key = keys.keepsake(key_hash, call_id)
            self._table.put(Item(key, {"signature": signature}, ttl=now + keys.KEEPSAKE_TTL))

    def kept(self, key_hash: str, names: Sequence[str]) -> Mapping[str, str]:
        wanted = {keys.keepsake(key_hash, name): name for name in names}
        found = self._table.batch(list(wanted))
        return {name: found[key].body["signature"] for key, name in wanted.items() if key in found}

    # answers that may be judged

    def answer(self, key_hash: str, request_id: str) -> Answer | None:
        item = self._table.get(keys.answer(key_hash, request_id))
        return Answer(**item.body) if item else None

    def put_answer(self, answer: Answer) -> None:
        # Two revisions: noted, and judged.
        rev = 1 if answer.score is None else 2
        key = keys.answer(answer.key_hash, answer.request_id)
        self._table.put(Item(key, asdict(answer), rev=rev, ttl=answer.at + keys.ANSWER_TTL), seen=rev - 1)

    # versions of a target

    def version_history(self, target: str) -> Kept | None:
        item = self._table.get(keys.versions(target))
        return Kept(item.body, item.rev) if item else None

    def put_version_history(self, target: str, kept: Kept) -> None:
        self._table.put(Item(keys.versions(target), kept.plain, rev=kept.rev + 1), seen=kept.rev)

    # one read for the data plane

    def snapshot(self, targets: Sequence[str], key_hashes: Sequence[str]) -> Snapshot:
        health = {name: keys.health(name) for name in targets}
        clients = {key_hash: keys.client_key(key_hash) for key_hash in key_hashes}
        found = self._table.batch([keys.pointer(), *health.values(), *clients.values()])
        pointer = found.get(keys.pointer())
        return Snapshot(
            pointer=_pointer(pointer) if pointer else None,
            health={n: health_from(found[k].body, found[k].rev) for n, k in health.items() if k in found},
            keys={h: key for h, k in clients.items() if k in found and (key := _readable(found[k]))},
        )


def _probing(health: Item | None, probing: Item | None, spend: Item | None) -> Probing:
    return Probing(
        health_from(health.body, health.rev) if health else None,
        _rotas(probing),
        {kind: amount * NANO for kind, amount in spend.body.items()} if spend else {},
    )


def _rotas(item: Item | None) -> dict[str, Rota]:
    known = {field.name for field in fields(Rota)}
    rotas = item.body["rotas"] if item else {}
    return {s: Rota(**{name: value for name, value in rota.items() if name in known}) for s, rota in rotas.items()}


def _use(sums: Mapping[str, int], minute: int) -> Use:
    leases = (count for name, count in sums.items() if name.startswith("leases#") and int(name[7:]) >= minute)
    return Use(sums.get(f"requests#{minute}", 0), sums.get(f"tokens#{minute}", 0), max(0, sum(leases)))


def _pointer(item: Item) -> Pointer:
    return Pointer(**item.body)


def _key(item: Item) -> ClientKey:
    """Raises StoreError for a key that this version cannot read: what it demands must not be passed over."""
    try:
        return key_from(item.body, item.rev)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise StoreError(f"the client key {item.key[1][:12]} cannot be read by this version: {error}") from error


def _readable(item: Item) -> ClientKey | None:
    """The key; None where it cannot be read, so that whoever asks for it alone is told, and nobody else waits."""
    try:
        return _key(item)
    except StoreError:
        return None
