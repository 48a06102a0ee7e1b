"""The classes of other packages that are known by name: nothing else is ever imported because stored data names it."""

from __future__ import annotations

# Short stored names of common classes. They are part of the storage format: never change or reuse one.
SHORT_NAMES = {
    "h": "langchain_core.messages.human:HumanMessage",
    "a": "langchain_core.messages.ai:AIMessage",
    "s": "langchain_core.messages.system:SystemMessage",
    "t": "langchain_core.messages.tool:ToolMessage",
    "f": "langchain_core.messages.function:FunctionMessage",
    "c": "langchain_core.messages.chat:ChatMessage",
    "b": "langchain_core.messages.base:BaseMessage",
    "r": "langchain_core.messages.modifier:RemoveMessage",
    "H": "langchain_core.messages.human:HumanMessageChunk",
    "A": "langchain_core.messages.ai:AIMessageChunk",
    "S": "langchain_core.messages.system:SystemMessageChunk",
    "T": "langchain_core.messages.tool:ToolMessageChunk",
    "F": "langchain_core.messages.function:FunctionMessageChunk",
    "C": "langchain_core.messages.chat:ChatMessageChunk",
    "B": "langchain_core.messages.base:BaseMessageChunk",
    "d": "langchain_core.documents.base:Document",
    "Send": "langgraph.types:Send",
    "TimeoutPolicy": "langgraph.types:TimeoutPolicy",
    "Interrupt": "langgraph.types:Interrupt",
    "Command": "langgraph.types:Command",
    "StateSnapshot": "langgraph.types:StateSnapshot",
    "PregelTask": "langgraph.types:PregelTask",
    "Overwrite": "langgraph.types:Overwrite",
    "Item": "langgraph.store.base:Item",
    "SearchItem": "langgraph.store.base:SearchItem",
    "GetOp": "langgraph.store.base:GetOp",
    "DeltaSnapshot": "langgraph.checkpoint.serde.types:_DeltaSnapshot",
    "Secret": "pydantic.types:Secret",
    "ByteSize": "pydantic.types:ByteSize",
    "AnyUrl": "pydantic.networks:AnyUrl",
    "AnyHttpUrl": "pydantic.networks:AnyHttpUrl",
    "HttpUrl": "pydantic.networks:HttpUrl",
    "AnyWebsocketUrl": "pydantic.networks:AnyWebsocketUrl",
    "WebsocketUrl": "pydantic.networks:WebsocketUrl",
    "FileUrl": "pydantic.networks:FileUrl",
    "FtpUrl": "pydantic.networks:FtpUrl",
    "PostgresDsn": "pydantic.networks:PostgresDsn",
    "CockroachDsn": "pydantic.networks:CockroachDsn",
    "AmqpDsn": "pydantic.networks:AmqpDsn",
    "RedisDsn": "pydantic.networks:RedisDsn",
    "MongoDsn": "pydantic.networks:MongoDsn",
    "KafkaDsn": "pydantic.networks:KafkaDsn",
    "NatsDsn": "pydantic.networks:NatsDsn",
    "MySQLDsn": "pydantic.networks:MySQLDsn",
    "MariaDBDsn": "pydantic.networks:MariaDBDsn",
    "ClickHouseDsn": "pydantic.networks:ClickHouseDsn",
    "SnowflakeDsn": "pydantic.networks:SnowflakeDsn",
    "Color": "pydantic_extra_types.color:Color",
    "RGBA": "pydantic_extra_types.color:RGBA",
}

SINCE = {"Overwrite": "langgraph 1.0.2", "TimeoutPolicy": "langgraph 1.2.0"}
"""With which version classes came that older ones, which this package runs with, do not have."""

LATER_FIELDS: dict[str, dict[str, tuple[str, str | None]]] = {
    "Interrupt": {"response_schema": ("langgraph 1.2.12", None)},
    "Overwrite": {"type": ("langgraph 1.2.7", "__overwrite__")},
    "Send": {"timeout": ("langgraph 1.2.0", None)},
}
"""Fields that came later than their classes: with which version, and what is stored where they say nothing."""

STEERING = frozenset({"Command", "DeltaSnapshot", "Interrupt", "Overwrite", "Send"})
"""Classes whose objects say how a run goes on: LangGraph passes over what stands in their place, and so it must not."""

VALUE_BASES = frozenset(
    {
        "pydantic.networks:_BaseUrl",
        "pydantic.networks:_BaseMultiHostUrl",
        "pydantic.types:_SecretBase",
        "pydantic.types:ByteSize",
        "pydantic.v1.types:SecretField",
    }
)
"""Pydantic's own plain classes: what a program derives from them holds no more than attributes, as a model does."""

SETTINGS_BASES = frozenset(
    {
        "pydantic_settings.main:BaseSettings",
        "pydantic.v1.env_settings:BaseSettings",
        "pydantic.env_settings:BaseSettings",
    }
)
"""Pydantic's classes for settings, which read the environment when they are made."""
