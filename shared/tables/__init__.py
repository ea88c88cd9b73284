"""The tables. `screenings` is the work, `predictions` the result; rows are the truth, and Redis only carries hints."""

from shared.db import Base
from shared.tables.accounts import (
    ApiToken,
    BrowserSession,
    Identity,
    Role,
    SavedView,
    Scope,
    SignInFailure,
    SignInLink,
    User,
)
from shared.tables.audit import AuditEvent, AuditHead
from shared.tables.images import Image, Tombstone
from shared.tables.jobs import Job, Priority, Source, Upload
from shared.tables.messages import Message, MessageEvent, MessageState, Webhook
from shared.tables.models import Activation, ActivationKind, Model
from shared.tables.reviews import Finding, ImageClaim, Review, ReviewOutcome, ReviewState
from shared.tables.scores import AskedScore, ShadowScore
from shared.tables.screenings import Prediction, Screening, in_states, prediction_copies

__all__ = [
    "Activation",
    "ActivationKind",
    "ApiToken",
    "AskedScore",
    "AuditEvent",
    "AuditHead",
    "Base",
    "BrowserSession",
    "Finding",
    "Identity",
    "Image",
    "ImageClaim",
    "Job",
    "Message",
    "MessageEvent",
    "MessageState",
    "Model",
    "Prediction",
    "Priority",
    "Review",
    "ReviewOutcome",
    "ReviewState",
    "Role",
    "SavedView",
    "Scope",
    "Screening",
    "ShadowScore",
    "SignInFailure",
    "SignInLink",
    "Source",
    "Tombstone",
    "Upload",
    "User",
    "Webhook",
    "in_states",
    "prediction_copies",
]
