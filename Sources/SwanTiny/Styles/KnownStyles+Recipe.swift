package import SwanCheckpoints

extension KnownStyles {
    /// The styles known to a model of these styles; nil if none of them is "no change", since such a
    /// model cannot be asked to leave the video unchanged.
    package init?(_ styles: [Style]) {
        guard styles.contains(where: \.changesNothing) else { return nil }
        self.init(
            noChange: PromptPhrases.requestsToKeep,
            known: styles.filter { !$0.changesNothing }.map { style in
                Entry(name: style.title, phrases: style.phrasings + style.words)
            }
        )
    }
}
