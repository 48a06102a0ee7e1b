"""A chat in Streamlit, which runs this script again, in a thread of its own, whenever somebody types."""

from __future__ import annotations

import json

import host_app
import streamlit as st


@st.cache_resource
def graphs():
    return host_app.compile_all(host_app.open_all())


text = st.text_input("Say something")
if text:
    for graph in graphs().values():
        turns = graph.invoke({"turns": [text]}, host_app.config("chat"))["turns"]
        st.markdown(json.dumps(turns))
