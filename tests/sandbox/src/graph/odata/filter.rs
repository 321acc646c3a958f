//! Reads a `$filter` into a tree whose names and types are known to be right.
//! Never decides whether the service supports what it read; that is in `check`.

use super::expression::{Expr, Function, Literal, Operator, Path};
use super::lexer::{Token, TokenKind, tokens};
use crate::data::model::{Kind, Shape};
use crate::graph::errors::GraphError;
use crate::graph::extended;

/// Functions of the language that no resource here can use.
const OTHER_FUNCTIONS: &[&str] = &[
    "length",
    "indexof",
    "substring",
    "tolower",
    "toupper",
    "trim",
    "concat",
    "year",
    "month",
    "day",
    "hour",
    "minute",
    "second",
    "date",
    "time",
    "now",
    "round",
    "floor",
    "ceiling",
    "cast",
    "isof",
    "matchespattern",
];

/// Reads the text of a `$filter` on rows of `shape`.
pub(crate) fn parse(text: &str, shape: &'static Shape, directory: bool) -> Result<Expr, GraphError> {
    let syntax = |at: usize| {
        GraphError::bad_request(format!("Invalid filter clause: Syntax error at position {at} in '{text}'."))
    };
    let tokens = tokens(text).map_err(syntax)?;
    let mut parser = Parser { text, shape, directory, tokens, next: 0, variable: None };
    let expression = parser.either()?;
    match parser.tokens.get(parser.next) {
        None => Ok(expression),
        Some(token) => Err(syntax(token.at)),
    }
}

struct Parser<'a> {
    text: &'a str,
    shape: &'static Shape,
    directory: bool,
    tokens: Vec<Token>,
    next: usize,
    variable: Option<(String, Path)>,
}

impl Parser<'_> {
    fn either(&mut self) -> Result<Expr, GraphError> {
        let mut left = self.both()?;
        while self.take_word("or") {
            left = Expr::Or(Box::new(left), Box::new(self.both()?));
        }
        Ok(left)
    }

    fn both(&mut self) -> Result<Expr, GraphError> {
        let mut left = self.unary()?;
        while self.take_word("and") {
            left = Expr::And(Box::new(left), Box::new(self.unary()?));
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expr, GraphError> {
        if self.take_word("not") {
            return Ok(Expr::Not(Box::new(self.unary()?)));
        }
        if self.take(&TokenKind::Open) {
            let inner = self.either()?;
            self.expect(&TokenKind::Close)?;
            return Ok(inner);
        }
        if let Some(TokenKind::Word(word)) = self.peek().cloned()
            && self.tokens.get(self.next + 1).is_some_and(|token| token.kind == TokenKind::Open)
        {
            return self.call(&word);
        }
        self.comparison()
    }

    fn call(&mut self, word: &str) -> Result<Expr, GraphError> {
        if let Some((path, lambda)) = word.rsplit_once('/') {
            return self.lambda(path, lambda);
        }
        let function = match word.to_ascii_lowercase().as_str() {
            "startswith" => Function::StartsWith,
            "endswith" => Function::EndsWith,
            "contains" => Function::Contains,
            other if OTHER_FUNCTIONS.contains(&other) => {
                return Err(if self.directory {
                    GraphError::unsupported_query(format!("Unsupported query: the function '{other}'."))
                } else {
                    GraphError::invalid_filter_node()
                });
            }
            _ => {
                return Err(GraphError::bad_request(format!(
                    "Invalid filter clause: An unknown function with name '{word}' was found. This may also be a function import or a key lookup on a navigation property, which is not allowed."
                )));
            }
        };
        self.next += 2;
        let path = self.path()?;
        self.expect(&TokenKind::Comma)?;
        let Some(TokenKind::Text(argument)) = self.peek().cloned() else {
            return Err(self.syntax());
        };
        self.next += 1;
        self.expect(&TokenKind::Close)?;
        if !matches!(path.kind, Kind::Text) {
            return Err(GraphError::bad_request(format!(
                "Invalid filter clause: No function signature for the function with name '{}' matches the specified arguments.",
                word.to_ascii_lowercase()
            )));
        }
        // `contains(x, 'y') eq true` is allowed by the language and means the same.
        let call = Expr::Call(function, path, argument);
        match (self.take_word("eq"), self.peek().cloned()) {
            (false, _) => Ok(call),
            (true, Some(TokenKind::Word(word))) if word == "true" || word == "false" => {
                self.next += 1;
                Ok(if word == "true" { call } else { Expr::Not(Box::new(call)) })
            }
            (true, _) => Err(self.syntax()),
        }
    }

    fn lambda(&mut self, path: &str, name: &str) -> Result<Expr, GraphError> {
        let all = match name.to_ascii_lowercase().as_str() {
            "any" => false,
            "all" => true,
            _ => return Err(self.syntax()),
        };
        let path = self.resolve(path)?;
        let Kind::List(item) = path.kind else {
            return Err(GraphError::bad_request(
                "Invalid filter clause: Any/All may only be used following a collection.",
            ));
        };
        self.next += 2;
        if !all && self.take(&TokenKind::Close) {
            return Ok(Expr::Lambda { all, path, condition: None });
        }
        let Some(TokenKind::Word(variable)) = self.peek().cloned() else {
            return Err(self.syntax());
        };
        self.next += 1;
        self.expect(&TokenKind::Colon)?;
        let element = Path { from_variable: true, names: Vec::new(), kind: *item, root: path.root };
        let outer = self.variable.replace((variable, element));
        let condition = self.either();
        self.variable = outer;
        let condition = Some(Box::new(condition?));
        self.expect(&TokenKind::Close)?;
        Ok(Expr::Lambda { all, path, condition })
    }

    fn comparison(&mut self) -> Result<Expr, GraphError> {
        if let Some(literal) = self.take_literal() {
            let operator = flipped(self.operator()?);
            let path = self.path()?;
            let literal = self.typed(&path, literal, operator)?;
            return Ok(Expr::Compare(path, operator, literal));
        }
        let path = self.path()?;
        if self.take_word("in") {
            self.expect(&TokenKind::Open)?;
            let mut items = Vec::new();
            loop {
                let literal = self.take_literal().ok_or_else(|| self.syntax())?;
                items.push(self.typed(&path, literal, Operator::Eq)?);
                if !self.take(&TokenKind::Comma) {
                    break;
                }
            }
            self.expect(&TokenKind::Close)?;
            return Ok(Expr::In(path, items));
        }
        if matches!(path.kind, Kind::Flag) && !self.at_operator() {
            return Ok(Expr::Truth(path));
        }
        let operator = self.operator()?;
        let literal = self.take_literal().ok_or_else(|| self.syntax())?;
        let literal = self.typed(&path, literal, operator)?;
        Ok(Expr::Compare(path, operator, literal))
    }

    fn path(&mut self) -> Result<Path, GraphError> {
        match self.peek().cloned() {
            Some(TokenKind::Word(word)) => {
                let path = self.resolve(&word)?;
                self.next += 1;
                Ok(path)
            }
            _ => Err(self.syntax()),
        }
    }

    fn resolve(&self, text: &str) -> Result<Path, GraphError> {
        let mut words = text.split('/').peekable();
        if let Some((variable, element)) = &self.variable
            && words.peek() == Some(&variable.as_str())
        {
            words.next();
            return self.walk(element.clone(), words);
        }
        let first = words.next().unwrap_or_default();
        let extended = first.eq_ignore_ascii_case(extended::NAME) && self.shape.navigates(first);
        let known = if extended { Some(&extended::PROPERTY) } else { self.shape.find(first) };
        let root = known.ok_or_else(|| self.unknown(first, self.shape.name))?;
        self.walk(Path { from_variable: false, names: vec![root.name], kind: root.kind, root }, words)
    }

    fn walk<'w>(&self, mut path: Path, words: impl Iterator<Item = &'w str>) -> Result<Path, GraphError> {
        for word in words {
            let Kind::Complex(shape) = path.kind else {
                return Err(self.unknown(word, &path.kind.edm_name()));
            };
            let property = shape.find(word).ok_or_else(|| self.unknown(word, shape.name))?;
            path.names.push(property.name);
            path.kind = property.kind;
        }
        Ok(path)
    }

    fn unknown(&self, name: &str, type_name: &str) -> GraphError {
        GraphError::unknown_property(self.directory, "Invalid filter clause", name, type_name)
    }

    fn typed(&self, path: &Path, literal: Literal, operator: Operator) -> Result<Literal, GraphError> {
        let fits = match (&path.kind, &literal) {
            (Kind::Complex(_) | Kind::List(_), Literal::Null) | (_, Literal::Null) => true,
            (Kind::Text | Kind::Binary, Literal::Text(_)) => true,
            (Kind::Flag, Literal::Flag(_)) => true,
            (Kind::Number | Kind::Fraction, Literal::Number(_)) => true,
            (Kind::Instant, Literal::Instant(_)) => true,
            (Kind::Choice(members), Literal::Text(text)) => {
                let Some(member) = members.iter().find(|member| member.eq_ignore_ascii_case(text)) else {
                    return Err(GraphError::bad_request(format!(
                        "Invalid filter clause: The string '{text}' is not a valid enumeration type constant."
                    )));
                };
                return Ok(Literal::Text((*member).to_owned()));
            }
            _ => false,
        };
        if fits {
            return Ok(literal);
        }
        Err(GraphError::bad_request(format!(
            "Invalid filter clause: A binary operator with incompatible types was detected. Found operand types '{}' and '{}' for operator kind '{}'.",
            path.kind.edm_name(),
            literal_type(&literal),
            operator_name(operator)
        )))
    }

    fn operator(&mut self) -> Result<Operator, GraphError> {
        let operator = match self.peek() {
            Some(TokenKind::Word(word)) => operator_of(word),
            _ => None,
        };
        self.next += usize::from(operator.is_some());
        operator.ok_or_else(|| self.syntax())
    }

    fn at_operator(&self) -> bool {
        matches!(self.peek(), Some(TokenKind::Word(word)) if operator_of(word).is_some())
    }

    fn take_literal(&mut self) -> Option<Literal> {
        let literal = match self.peek()? {
            TokenKind::Text(text) => Literal::Text(text.clone()),
            TokenKind::Number(number) => Literal::Number(*number),
            TokenKind::Instant(instant) => Literal::Instant(*instant),
            TokenKind::Word(word) => match word.as_str() {
                "null" => Literal::Null,
                "true" => Literal::Flag(true),
                "false" => Literal::Flag(false),
                _ => return None,
            },
            _ => return None,
        };
        self.next += 1;
        Some(literal)
    }

    fn peek(&self) -> Option<&TokenKind> {
        self.tokens.get(self.next).map(|token| &token.kind)
    }

    fn take(&mut self, kind: &TokenKind) -> bool {
        let found = self.peek() == Some(kind);
        self.next += usize::from(found);
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(TokenKind::Word(known)) if known == word);
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, kind: &TokenKind) -> Result<(), GraphError> {
        if self.take(kind) { Ok(()) } else { Err(self.syntax()) }
    }

    fn syntax(&self) -> GraphError {
        let at = self.tokens.get(self.next).map_or(self.text.len(), |token| token.at);
        GraphError::bad_request(format!(
            "Invalid filter clause: Syntax error at position {at} in '{}'.",
            self.text
        ))
    }
}

fn operator_of(word: &str) -> Option<Operator> {
    Some(match word {
        "eq" => Operator::Eq,
        "ne" => Operator::Ne,
        "gt" => Operator::Gt,
        "ge" => Operator::Ge,
        "lt" => Operator::Lt,
        "le" => Operator::Le,
        _ => return None,
    })
}

fn flipped(operator: Operator) -> Operator {
    match operator {
        Operator::Gt => Operator::Lt,
        Operator::Ge => Operator::Le,
        Operator::Lt => Operator::Gt,
        Operator::Le => Operator::Ge,
        same => same,
    }
}

fn operator_name(operator: Operator) -> &'static str {
    match operator {
        Operator::Eq => "Equal",
        Operator::Ne => "NotEqual",
        Operator::Gt => "GreaterThan",
        Operator::Ge => "GreaterThanOrEqual",
        Operator::Lt => "LessThan",
        Operator::Le => "LessThanOrEqual",
    }
}

fn literal_type(literal: &Literal) -> &'static str {
    match literal {
        Literal::Null => "null",
        Literal::Text(_) => "Edm.String",
        Literal::Flag(_) => "Edm.Boolean",
        Literal::Number(_) => "Edm.Int32",
        Literal::Instant(_) => "Edm.DateTimeOffset",
    }
}
