import SwanPipelines

/// What OSC messages have set, which later ones refer to: for all sessions, and for single ones.
struct OSCMemory {
    /// What was set; nil if nothing was.
    struct Entry {
        var prompts: [StreamChange.WeightedPrompt]?
        var transition: Int?
    }

    private var all = Entry()
    private var single: [String: Entry] = [:]

    /// What a message for a session refers to, or with nil, one for all sessions.
    ///
    /// What was not set for the session is that of all sessions.
    func entry(of session: String?) -> Entry {
        guard let own = session.flatMap({ single[$0] }) else { return all }
        return Entry(
            prompts: own.prompts ?? all.prompts,
            transition: own.transition ?? all.transition
        )
    }

    /// Sets the prompts of a session, or of all: then those of single ones are no longer in use.
    mutating func set(prompts: [StreamChange.WeightedPrompt], of session: String?) {
        set(\.prompts, to: prompts, of: session)
    }

    /// Sets the number of chunks over which later prompts come, of a session or of all.
    mutating func set(transition: Int, of session: String?) {
        set(\.transition, to: transition, of: session)
    }

    private mutating func set<Value>(
        _ path: WritableKeyPath<Entry, Value?>,
        to value: Value,
        of session: String?
    ) {
        if let session {
            single[session, default: Entry()][keyPath: path] = value
        } else {
            all[keyPath: path] = value
            for id in single.keys { single[id]?[keyPath: path] = nil }
        }
    }

    /// Forgets sessions that have ended.
    mutating func keep(only sessions: Set<String>) {
        single = single.filter { sessions.contains($0.key) }
    }
}
